package main

import (
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strings"
)

const (
	plotWidth  = 720
	plotLabel  = 110 // pixels for the names
	plotRow    = 34
	plotMargin = 26
)

// draw shows every sample of each subject as a dot on one axis from zero, and the median as a line.
func draw(r *result) string {
	names := sortSubjects(slices.Collect(maps.Keys(r.Samples)))
	most := 0.0
	for _, samples := range r.Samples {
		most = max(most, summarize(samples).Most)
	}
	if most == 0 || math.IsNaN(most) {
		most = 1
	}
	height := plotMargin*2 + plotRow*len(names)
	x := func(v float64) float64 { return plotLabel + v/most*(plotWidth-plotLabel-60) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height)
	for i := range 5 {
		v := most * float64(i) / 4
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" fill="#666" text-anchor="middle">%s</text>`+"\n",
			x(v), plotMargin-6, x(v), height-plotMargin, x(v), height-8, html.EscapeString(r.Unit.format(v)))
	}
	for i, name := range names {
		y := plotMargin + plotRow*i + plotRow/2
		color := "#8a8f98"
		if name == boxyard {
			color = "#0b63c5"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>`+"\n", plotLabel-12, y+5, html.EscapeString(name))
		for _, v := range r.Samples[name] {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="3.5" fill="%s" fill-opacity="0.35"/>`+"\n", x(v), y, color)
		}
		median := summarize(r.Samples[name]).Median
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="3"/><text x="%.1f" y="%d" fill="%s">%s</text>`+"\n",
			x(median), y-11, x(median), y+11, color, x(median)+5, y-6, color, html.EscapeString(r.Unit.format(median)))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
