package main

import (
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strings"
)

// flat is what a median at the largest size may be, compared with that at the smallest, and still be called flat.
const flat = 1.25

// growthChapter has a table and a plot of each curve that was measured; it writes the plots.
func growthChapter(repo string, r *results) (string, error) {
	var b strings.Builder
	for _, g := range growths() {
		for _, c := range g.curves {
			res := r.Curves[c.Name]
			if res == nil {
				continue
			}
			if b.Len() == 0 {
				b.WriteString("\n## As work grows\n")
			}
			b.WriteString(curveSection(res))
			if err := writePlot(repo, c.Name, drawCurve(res)); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

func curveSection(r *curveResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n%s. Measured on %s, commit %s.\n\n", r.Name, r.What, r.Date, r.Commit)
	fmt.Fprintf(&b, "| %s | subject | median | least | most | samples |\n|---|---|---|---|---|---|\n", r.Of)
	for _, p := range r.Points {
		for _, name := range sortSubjects(slices.Collect(maps.Keys(p.Samples))) {
			s := summarize(p.Samples[name])
			fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %d |\n", p.Size, name,
				r.Unit.format(s.Median), r.Unit.format(s.Least), r.Unit.format(s.Most), s.Count)
		}
	}
	fmt.Fprintf(&b, "\n![%s](performance/%s.svg)\n", r.Name, r.Name)
	if line := slope(r); line != "" {
		fmt.Fprintf(&b, "\n- %s\n", line)
	}
	return b.String()
}

// slope says whether Boxyard's curve is flat, and what one more costs if it is not.
func slope(r *curveResult) string {
	if len(r.Points) < 2 {
		return ""
	}
	first, last := r.Points[0], r.Points[len(r.Points)-1]
	from, to := summarize(first.Samples[boxyard]).Median, summarize(last.Samples[boxyard]).Median
	if math.IsNaN(from) || math.IsNaN(to) || from <= 0 {
		return ""
	}
	if to <= flat*from {
		return fmt.Sprintf("Flat: %.2f x from %d to %d %s.", to/from, first.Size, last.Size, r.Of)
	}
	each := (to - from) / float64(last.Size-first.Size)
	return fmt.Sprintf("Grows: from %s to %s, %.1f x for %.0f x as many %s; %s for each.", r.Unit.format(from), r.Unit.format(to), to/from,
		float64(last.Size)/float64(first.Size), r.Of, r.Unit.format(each))
}

const (
	curveHeight = 300
	curveLeft   = 80
	curveRight  = 40
	curveTop    = 20
	curveBottom = 46
)

// drawCurve shows the medians of each subject as a line over the sizes, on a logarithmic axis, and every sample as a dot.
func drawCurve(r *curveResult) string {
	most := 0.0
	lines := map[string][]string{} // of points, by subject
	for _, p := range r.Points {
		for _, samples := range p.Samples {
			most = max(most, summarize(samples).Most)
		}
	}
	if most == 0 || math.IsNaN(most) {
		most = 1
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", plotWidth, curveHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, curveHeight)
	y := func(v float64) float64 {
		return curveHeight - curveBottom - v/most*(curveHeight-curveTop-curveBottom)
	}
	for i := range 5 {
		v := most * float64(i) / 4
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" fill="#666" text-anchor="end">%s</text>`+"\n",
			curveLeft, y(v), plotWidth-curveRight, y(v), curveLeft-8, y(v)+4, html.EscapeString(r.Unit.format(v)))
	}
	for i, p := range r.Points {
		x := curveX(r.Points, i)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#666" text-anchor="middle">%d</text>`+"\n", x, curveHeight-curveBottom+18, p.Size)
		for _, name := range sortSubjects(slices.Collect(maps.Keys(p.Samples))) {
			for _, v := range p.Samples[name] {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s" fill-opacity="0.35"/>`+"\n", x, y(v), colorOf(name))
			}
			lines[name] = append(lines[name], fmt.Sprintf("%.1f,%.1f", x, y(summarize(p.Samples[name]).Median)))
		}
	}
	for i, name := range sortSubjects(slices.Collect(maps.Keys(lines))) {
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(lines[name], " "), colorOf(name))
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", curveLeft+10, curveTop+12+16*i, colorOf(name), html.EscapeString(name))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#222" text-anchor="middle">%s</text>`+"\n", (curveLeft+plotWidth-curveRight)/2, curveHeight-8, html.EscapeString(r.Of)+" (the axis is logarithmic)")
	b.WriteString("</svg>\n")
	return b.String()
}

// curveX is where the point i is, the axis going from the first to the last.
func curveX(points []point, i int) float64 {
	if len(points) < 2 {
		return curveLeft
	}
	log := func(i int) float64 { return math.Log(float64(points[i].Size)) }
	share := (log(i) - log(0)) / (log(len(points)-1) - log(0))
	return curveLeft + share*(plotWidth-curveRight-curveLeft)
}

func colorOf(subject string) string {
	if subject == boxyard {
		return "#0b63c5"
	}
	return "#8a8f98"
}
