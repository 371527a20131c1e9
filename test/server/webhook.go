package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

// review is AdmissionReview of admission.k8s.io/v1, as much of it as is used.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID    string `json:"uid"`
	Object struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	} `json:"object"`
}

type response struct {
	UID     string  `json:"uid"`
	Allowed bool    `json:"allowed"`
	Status  *status `json:"status,omitempty"`
}

type status struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
}

// validate refuses what has the label refuse=yes.
func validate(w http.ResponseWriter, r *http.Request) {
	var in review
	if !decode(w, r, &in) {
		return
	}
	if in.Request == nil {
		http.Error(w, "no request in it", http.StatusBadRequest)
		return
	}
	out := response{UID: in.Request.UID, Allowed: in.Request.Object.Metadata.Labels["refuse"] != "yes"}
	if !out.Allowed {
		out.Status = &status{Message: "the label refuse says yes"}
	}
	answer(w, review{APIVersion: in.APIVersion, Kind: in.Kind, Response: &out})
}

// conversion is ConversionReview of apiextensions.k8s.io/v1.
type conversion struct {
	APIVersion string              `json:"apiVersion"`
	Kind       string              `json:"kind"`
	Request    *conversionRequest  `json:"request,omitempty"`
	Response   *conversionResponse `json:"response,omitempty"`
}

type conversionRequest struct {
	UID     string           `json:"uid"`
	Desired string           `json:"desiredAPIVersion"`
	Objects []map[string]any `json:"objects"`
}

type conversionResponse struct {
	UID     string           `json:"uid"`
	Result  status           `json:"result"`
	Objects []map[string]any `json:"convertedObjects"`
}

// convert knows crates: v1 has spec.size, v2 has spec.dimensions.size.
func convert(w http.ResponseWriter, r *http.Request) {
	var in conversion
	if !decode(w, r, &in) {
		return
	}
	if in.Request == nil {
		http.Error(w, "no request in it", http.StatusBadRequest)
		return
	}
	out := conversionResponse{UID: in.Request.UID, Result: status{Status: "Success"}}
	for _, object := range in.Request.Objects {
		converted, err := convertCrate(object, in.Request.Desired)
		if err != nil {
			out.Result, out.Objects = status{Status: "Failure", Message: err.Error()}, nil
			break
		}
		out.Objects = append(out.Objects, converted)
	}
	answer(w, conversion{APIVersion: in.APIVersion, Kind: in.Kind, Response: &out})
}

func convertCrate(object map[string]any, desired string) (map[string]any, error) {
	const v1, v2 = "boxyard.test/v1", "boxyard.test/v2"
	out := maps.Clone(object)
	out["apiVersion"] = desired
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a crate without spec")
	}
	switch {
	case object["apiVersion"] == v1 && desired == v2:
		out["spec"] = map[string]any{"dimensions": map[string]any{"size": spec["size"]}}
	case object["apiVersion"] == v2 && desired == v1:
		dimensions, _ := spec["dimensions"].(map[string]any)
		out["spec"] = map[string]any{"size": dimensions["size"]}
	case object["apiVersion"] != desired:
		return nil, fmt.Errorf("no way from %v to %s", object["apiVersion"], desired)
	}
	return out, nil
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 10<<20)).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // who asked has gone
}
