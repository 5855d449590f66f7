package report

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestChromiumDrawsThePage: a browser draws verdict and strips in their
// colours, and prints them on A4.
func TestChromiumDrawsThePage(t *testing.T) {
	dir := t.TempDir()
	page, err := sampleReport().HTML(false)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "report.html")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	shot := filepath.Join(dir, "page.png")
	chromium(t, dir, "--window-size=1180,2400", "--screenshot="+shot, "file://"+file)
	data, err := os.ReadFile(shot)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		c     color.RGBA
		least int // pixels
	}{
		"down, and the verdict": {color.RGBA{0xa3, 0x15, 0x2b, 255}, 800},
		"up":                    {color.RGBA{0x7f, 0xc7, 0x9a, 255}, 10_000},
		"not known":             {color.RGBA{0xf2, 0xc1, 0x4e, 255}, 100},
		"not recorded":          {color.RGBA{0xdc, 0xdf, 0xe4, 255}, 10_000},
		"move, in the bars":     {color.RGBA{0x1c, 0x23, 0x30, 255}, 100},
	} {
		if n := pixels(img, want.c); n < want.least {
			t.Errorf("%s: %d pixels, want %d", name, n, want.least)
		}
	}
	pdf := filepath.Join(dir, "page.pdf")
	chromium(t, dir, "--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+file)
	if data, err = os.ReadFile(pdf); err != nil {
		t.Fatal(err)
	}
	pages := len(regexp.MustCompile(`/Type\s*/Page\b`).FindAll(data, -1))
	size := regexp.MustCompile(`/MediaBox\s*\[0 0 59[45][.0-9]* 84[12][.0-9]*\]`) // A4 in points
	if pages < 2 || pages > 4 || !size.Match(data) {
		t.Errorf("%d pages, A4 %v", pages, size.Match(data))
	}
}

// chromium runs the browser once.
func chromium(t *testing.T, dir string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + filepath.Join(dir, "browser"),
	}, args...)
	if out, err := exec.CommandContext(ctx, "chromium", args...).CombinedOutput(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}
}

func pixels(img image.Image, want color.RGBA) int {
	n := 0
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			if uint8(r>>8) == want.R && uint8(g>>8) == want.G && uint8(bl>>8) == want.B {
				n++
			}
		}
	}
	return n
}
