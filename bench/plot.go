//go:build linux

package main

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// point is one size of something and the figure measured at it.
type point struct {
	X int     `json:"x"`
	Y float64 `json:"y"`
}

// growth is how a figure grows with the size of something.
type growth struct {
	Name  string             `json:"name"` // of the file, without its ending
	Title string             `json:"title"`
	X     string             `json:"x"`
	Y     string             `json:"y"`
	By    map[string][]point `json:"by"`
}

func (g *growth) file() string { return g.Name + ".svg" }

// looks are the lines of the contenders, told apart without colour too.
var looks = map[string]struct {
	color  color.RGBA
	dashes []vg.Length
	shape  draw.GlyphDrawer
}{
	"osl":   {color.RGBA{0x1b, 0x6e, 0xc2, 0xff}, nil, draw.CircleGlyph{}},
	"moby":  {color.RGBA{0xc2, 0x4e, 0x1b, 0xff}, []vg.Length{vg.Points(5), vg.Points(3)}, draw.SquareGlyph{}},
	"floor": {color.RGBA{0x55, 0x55, 0x55, 0xff}, []vg.Length{vg.Points(1.5), vg.Points(2.5)}, draw.CrossGlyph{}},
}

// plots writes a file for each growth.
func (r *report) plots(dir string) error {
	for i := range r.Growth {
		g := &r.Growth[i]
		p, err := g.plot()
		if err != nil {
			return fmt.Errorf("plot %s: %w", g.Name, err)
		}
		if err := p.Save(16*vg.Centimeter, 10*vg.Centimeter, filepath.Join(dir, g.file())); err != nil {
			return fmt.Errorf("plot %s: %w", g.Name, err)
		}
	}
	return nil
}

// plot draws a growth with both axes logarithmic: what grows in proportion is
// a line of slope 1, what does not grow is level.
func (g *growth) plot() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = g.Title, g.X, g.Y
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = decades{}, decades{}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	low, high := math.Inf(1), math.Inf(-1)
	for _, name := range []string{"moby", "osl", "floor"} {
		var xy plotter.XYs
		for _, v := range g.By[name] {
			if v.Y > 0 {
				xy = append(xy, plotter.XY{X: float64(max(1, v.X)), Y: v.Y})
				low, high = min(low, v.Y), max(high, v.Y)
			}
		}
		if len(xy) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(xy)
		if err != nil {
			return nil, err
		}
		look := looks[name]
		line.Color, line.Dashes, line.Width = look.color, look.dashes, vg.Points(1.5)
		dots.Color, dots.Shape = look.color, look.shape
		p.Add(line, dots)
		p.Legend.Add(name, line, dots)
	}
	if math.IsInf(low, 1) {
		return nil, fmt.Errorf("there are no figures")
	}
	// Whole decades, and room for the legend.
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(low)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(high))+0.5)
	p.X.Max = math.Max(p.X.Max, 2)
	return p, nil
}

// decades marks the powers of ten, as people write them.
type decades struct{}

func (decades) Ticks(low, high float64) (list []plot.Tick) {
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		v := math.Pow(10, e)
		list = append(list, plot.Tick{Value: v, Label: thousands(v)})
		for m := 2.0; m < 10; m++ {
			list = append(list, plot.Tick{Value: m * v})
		}
	}
	return list
}

// thousands writes a number with commas.
func thousands(v float64) string {
	s := fmt.Sprintf("%.6g", v)
	if v < 1000 || strings.ContainsAny(s, ".e") {
		if v >= 1e6 {
			s = fmt.Sprintf("%.0f", v)
		} else {
			return s
		}
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
