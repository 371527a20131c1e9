package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/internal/fault"
)

// CodeInvalid is the code of every error about what a user configured.
const CodeInvalid = "config-invalid"

// Load reads the file at path over Default and validates the result. A file
// that does not exist is Default. A file that is not right in every key is a
// *fault.Error that names the file, the key, the value and the allowed form.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return Config{}, invalid(path, "cannot be read", "make it a readable file, or remove it to use the defaults", err)
	}
	c, err := decode(data)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return Config{}, inFile(path, err)
	}
	return c, nil
}

// Keys returns the dotted names of the keys that the file at path sets, such as
// "network.podCIDR": what a user chose is reported when it cannot be had, where
// a default is replaced. A file that does not exist sets none.
func Keys(path string) (map[string]bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, invalid(path, "cannot be read", "make it a readable file, or remove it to use the defaults", err)
	}
	tree, err := parse(data)
	if err != nil {
		return nil, inFile(path, err)
	}
	keys := map[string]bool{}
	collectKeys(tree, "", keys)
	return keys, nil
}

func collectKeys(tree map[string]any, prefix string, keys map[string]bool) {
	for k, v := range tree {
		if sub, ok := v.(map[string]any); ok {
			collectKeys(sub, prefix+k+".", keys)
			continue
		}
		keys[prefix+k] = true
	}
}

// decode goes through a tree that is compared with the schema first, because
// the decoders' own errors name neither the key's full path nor its value.
func decode(data []byte) (Config, error) {
	tree, err := parse(data)
	if err != nil {
		return Config{}, err
	}
	if err := conform(tree, reflect.TypeFor[Config](), ""); err != nil {
		return Config{}, err
	}
	normalized, err := json.Marshal(tree)
	if err != nil {
		return Config{}, fmt.Errorf("encode configuration: %w", err)
	}
	c := Default()
	if err := json.Unmarshal(normalized, &c); err != nil {
		return Config{}, invalid("", "cannot be decoded", "", err)
	}
	return c, nil
}

func parse(data []byte) (map[string]any, error) {
	var root any
	if err := yaml.UnmarshalStrict(data, &root); err != nil {
		return nil, invalid("", "is not valid YAML", "correct the line named above, or remove the file to use the defaults", err)
	}
	switch tree := root.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return tree, nil
	default:
		return nil, invalid("", fmt.Sprintf("holds %s where keys with values are expected", describe(root)),
			"write it as lines of key: value, such as: apiPort: 6443", nil)
	}
}

// conform checks the tree against the schema. It changes the tree where YAML 1.1
// reads a word as something else: on and off are booleans there.
func conform(tree map[string]any, schema reflect.Type, prefix string) error {
	fields := fieldsOf(schema)
	for _, key := range sortedKeys(tree) {
		path := prefix + key
		field, ok := fields[key]
		if !ok {
			return unknownKey(path)
		}
		value := tree[key]
		if value == nil {
			// A key without a value keeps its default.
			delete(tree, key)
			continue
		}
		if field.Kind() == reflect.Struct {
			sub, ok := value.(map[string]any)
			if !ok {
				return wrongType(path, value, "keys of its own: "+strings.Join(sortedKeys(fieldsOf(field)), ", "))
			}
			if err := conform(sub, field, path+"."); err != nil {
				return err
			}
			continue
		}
		fixed, err := conformValue(path, value, field)
		if err != nil {
			return err
		}
		tree[key] = fixed
	}
	return nil
}

func conformValue(path string, value any, want reflect.Type) (any, error) {
	switch want.Kind() {
	case reflect.Int:
		n, ok := value.(float64)
		if !ok || n != math.Trunc(n) || math.Abs(n) > math.MaxInt32 {
			return nil, wrongType(path, value, "a whole number")
		}
		return value, nil
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			return nil, wrongType(path, value, "true or false")
		}
		return value, nil
	case reflect.String:
		return conformString(path, value)
	case reflect.Slice:
		items, ok := value.([]any)
		if !ok {
			return nil, wrongType(path, value, "a list of words, such as: ["+strings.Join(optionalParts(), ", ")+"]")
		}
		for i, item := range items {
			if _, ok := item.(string); !ok {
				return nil, wrongType(fmt.Sprintf("%s[%d]", path, i), item, "a word")
			}
		}
		return items, nil
	default:
		return nil, fmt.Errorf("config: the schema has a kind that decoding does not know: %s", want)
	}
}

func conformString(path string, value any) (any, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		if !slices.Contains(switches(), path) {
			return nil, wrongType(path, value, "text (in quotes where it reads as true or false)")
		}
		if v {
			return "on", nil
		}
		return "off", nil
	default:
		return nil, wrongType(path, value, "text (in quotes where it reads as a number)")
	}
}

// switches are the keys whose values are auto, on or off.
func switches() []string { return []string{"network.ipv6", "docker.socket"} }

func unknownKey(path string) error {
	hint := "the keys are: " + strings.Join(allKeys(reflect.TypeFor[Config](), ""), ", ")
	if near := nearestKey(path, allKeys(reflect.TypeFor[Config](), "")); near != "" {
		hint = "did you mean " + near + "?"
	}
	return invalid("", "unknown key "+path, hint, nil)
}

func wrongType(path string, value any, allowed string) error {
	return invalid("", fmt.Sprintf("%s is %s", path, describe(value)), "allowed: "+allowed, nil)
}

func describe(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return "a group of keys"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("%q", v)
	default:
		return fmt.Sprintf("%v", v)
	}
}

// invalid is a fault without its file where file is ""; Load adds it.
func invalid(file, summary, hint string, cause error) *fault.Error {
	f := &fault.Error{Code: CodeInvalid, Summary: summary, Hint: hint, Exit: fault.ExitUsage, Cause: cause}
	if file != "" {
		f.Summary = file + " " + summary
	}
	return f
}

func inFile(path string, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return fmt.Errorf("%s: %w", path, err)
	}
	located := *f
	located.Summary = path + ": " + f.Summary
	return &located
}

// fieldsOf maps the keys of a struct, from its json tags, to their types.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for f := range t.Fields() {
		fields[f.Tag.Get("json")] = f.Type
	}
	return fields
}

// allKeys lists the dotted names of every key, in the order of the schema.
func allKeys(t reflect.Type, prefix string) []string {
	var keys []string
	for f := range t.Fields() {
		name := prefix + f.Tag.Get("json")
		if f.Type.Kind() == reflect.Struct {
			keys = append(keys, allKeys(f.Type, name+".")...)
			continue
		}
		keys = append(keys, name)
	}
	return keys
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
