//go:build !race

package index_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// Somebody who can write the files of an index, has all that ever stood there,
// and has not the key of the box, can hide no event.
func TestAttacks(t *testing.T) {
	const page = 4096
	box := newBox(t)
	build := func(seed uint64, box index.Box) (*world, map[string][]byte) {
		w := newWorld(t, seed, index.Options{})
		w.close()
		w.options.Box = box
		w.open()
		for range 3 {
			w.cut()
			for range 300 {
				w.add()
			}
		}
		w.cut()
		for range 3 {
			w.deliver(1)
		}
		w.remove()
		w.close()
		files := map[string][]byte{}
		for _, name := range names(t, w.options.Dir) {
			text, err := os.ReadFile(filepath.Join(w.options.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = text
		}
		if len(files) != 3 {
			t.Fatalf("%d runs", len(files))
		}
		return w, files
	}
	w, genuine := build(7, box)
	_, other := build(7, box)         // with the same events, made by the same node
	_, foreign := build(7, newBox(t)) // made by another
	const first, second, third = "0000000001-0000000001.run", "0000000002-0000000002.run", "0000000003-0000000003.run"
	q := index.Query{Terms: []index.Term{{Attribute: index.EventName, Value: "Encrypt"}}, Limit: 1000}
	want := len(w.want(q))

	pages := func(change func(number int, p []byte)) func(map[string][]byte) {
		return func(files map[string][]byte) {
			text := files[second]
			for at := 0; at < len(text)-page; at += page {
				change(at/page, text[at:at+page])
			}
		}
	}
	for name, attack := range map[string]func(files map[string][]byte){
		"one byte of each page": pages(func(number int, p []byte) { p[number*7%4080]++ }),
		"one tag bit":           pages(func(_ int, p []byte) { p[page-1] ^= 1 }),
		"pages of zeros":        pages(func(_ int, p []byte) { clear(p) }),
		"pages of another run": pages(func(number int, p []byte) {
			copy(p, genuine[first][number*page:])
		}),
		"pages of the same run, made at another time": pages(func(number int, p []byte) { copy(p, other[second][number*page:]) }),
		"pages of the same run of another node":       pages(func(number int, p []byte) { copy(p, foreign[second][number*page:]) }),
		"swapped pages": func(files map[string][]byte) {
			text := files[second]
			for at := 0; at+2*page < len(text); at += 2 * page {
				copy(text[at:], genuine[second][at+page:at+2*page])
				copy(text[at+page:], genuine[second][at:at+page])
			}
		},
		"a byte of the footer": func(files map[string][]byte) { files[second][len(files[second])-page+200]++ },
		"a byte of the key":    func(files map[string][]byte) { files[second][len(files[second])-page+30]++ },
		"a key that is too long": func(files map[string][]byte) {
			copy(files[second][len(files[second])-page+8:], []byte{0xff, 0xff})
		},
		"no key": func(files map[string][]byte) { clear(files[second][len(files[second])-page+8:][:2]) },
		"the version before": func(files map[string][]byte) {
			files[second][len(files[second])-page+7] = 1
		},
		"the footer of another run": func(files map[string][]byte) {
			copy(files[second][len(files[second])-page:], genuine[third][len(genuine[third])-page:])
		},
		"a shorter run with its footer": func(files map[string][]byte) {
			text := files[second]
			files[second] = append(bytes.Clone(text[:page]), text[len(text)-page:]...)
		},
		"a page as the footer":          func(files map[string][]byte) { files[second] = files[second][:len(files[second])-page] },
		"an empty run":                  func(files map[string][]byte) { files[second] = nil },
		"a run in the place of another": func(files map[string][]byte) { files[second] = files[first] },
		"the run of another time":       func(files map[string][]byte) { files[second] = other[second] },
		"the newest of another time":    func(files map[string][]byte) { files[third] = other[third] },
		"the run of another node":       func(files map[string][]byte) { files[second] = foreign[second] },
		"a run taken away":              func(files map[string][]byte) { delete(files, second) },
		"a run that covers others": func(files map[string][]byte) {
			files["0000000001-0000000003.run"] = files[second]
		},
		"the index of another node": func(files map[string][]byte) {
			for name := range files {
				files[name] = foreign[name]
			}
		},
		"": nil, // that the others are found is not for another reason
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{}
			for name, text := range genuine {
				files[name] = bytes.Clone(text)
			}
			if attack != nil {
				attack(files)
			}
			o := w.options
			o.Dir = t.TempDir()
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(o.Dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			x, err := index.Open(o)
			found := 0
			if err == nil {
				defer func() { _ = x.Close() }()
				s, e := index.NewSearcher(x, filepath.Join(w.dir, "archive"), w)
				if e != nil {
					t.Fatal(e)
				}
				var page index.Page
				page, err = s.Search(t.Context(), q)
				found = len(page.Events)
			}
			if attack == nil {
				if err != nil || found != want || want == 0 {
					t.Errorf("without an attack: %d of %d events, %v", found, want, err)
				}
				return
			}
			if !errors.Is(err, index.ErrDamaged) {
				t.Errorf("found %d of %d events, %v", found, want, err)
			}
		})
	}
}
