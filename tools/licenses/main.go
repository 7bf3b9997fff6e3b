// Licenses collects the licences of the modules that are linked into the
// keyreeve binary.
//
//	go run ./tools/licenses          writes third_party_licenses/
//	go run ./tools/licenses -check   fails if that would change anything
//
// It asks the go command which packages the binary is made of, on every
// platform that we release for, and copies the licence and notice files that
// stand in those packages' folders or above them in their modules. A licence
// whose text it does not recognise as permissive is an error: somebody must
// read it.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	binary = "./cmd/keyreeve"
	folder = "third_party_licenses"
)

// platforms are those of the released binaries.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("licenses: ")
	check := flag.Bool("check", false, "change nothing; fail if "+folder+" is not up to date")
	flag.Parse()
	if err := run(*check); err != nil {
		log.Fatal(err)
	}
}

func run(check bool) error {
	modules, err := linked()
	if err != nil {
		return err
	}
	files, err := render(modules)
	if err != nil {
		return err
	}
	if check {
		return compare(files)
	}
	return write(files)
}

// A module is one that is linked, with the licence files that apply to what is
// linked of it.
type module struct {
	path, version, dir string
	texts              map[string][]byte // by path within the module
	licences           []string          // SPDX identifiers
}

// linked returns the modules of which packages are linked, by path.
func linked() ([]*module, error) {
	byPath := make(map[string]*module)
	for _, platform := range platforms {
		goos, goarch, _ := strings.Cut(platform, "/")
		cmd := exec.Command("go", "list", "-deps", "-json=Dir,Standard,Module", binary)
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("listing what %s is made of on %s: %w", binary, platform, err)
		}
		dec := json.NewDecoder(bytes.NewReader(out))
		for {
			var p struct {
				Dir      string
				Standard bool
				Module   *struct {
					Path, Version, Dir string
					Main               bool
				}
			}
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("reading what go list says: %w", err)
			}
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			m := byPath[p.Module.Path]
			if m == nil {
				m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir, texts: make(map[string][]byte)}
				byPath[m.path] = m
			}
			if err := m.collect(p.Dir); err != nil {
				return nil, err
			}
		}
	}
	std, err := standard()
	if err != nil {
		return nil, err
	}
	modules := []*module{std}
	for _, m := range byPath {
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b *module) int { return cmp.Compare(a.path, b.path) })
	return modules, nil
}

// standard returns Go itself, whose standard library and runtime are linked
// too. Its version is not shown: any patch release may build the binary.
func standard() (*module, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("finding Go's own licence: %w", err)
	}
	m := &module{path: "go", dir: strings.TrimSpace(string(out)), texts: make(map[string][]byte)}
	return m, m.collect(m.dir)
}

// interesting matches the names of files that carry terms or notices.
var interesting = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-._].*)?$`)

// collect takes the licence files of a package's folder and of every folder
// above it within the module.
func (m *module) collect(dir string) error {
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("looking for the licence of %s: %w", m.path, err)
		}
		for _, e := range entries {
			name := e.Name()
			if e.IsDir() || !interesting.MatchString(name) || strings.HasSuffix(name, ".go") {
				continue
			}
			full := filepath.Join(dir, name)
			rel, err := filepath.Rel(m.dir, full)
			if err != nil {
				return err
			}
			if m.texts[filepath.ToSlash(rel)] != nil {
				continue
			}
			text, err := os.ReadFile(full)
			if err != nil {
				return err
			}
			m.texts[filepath.ToSlash(rel)] = normalise(text)
		}
		if dir == m.dir {
			return nil
		}
		up := filepath.Dir(dir)
		if up == dir || !strings.HasPrefix(dir, m.dir) {
			return fmt.Errorf("%s is not in its module's folder %s", dir, m.dir)
		}
		dir = up
	}
}

// normalise gives a text plain line ends and one at its end.
func normalise(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return append(bytes.TrimRight(text, " \t\n"), '\n')
}

// grants are sentences that only one licence has. All that are found in a text
// apply.
var grants = []struct{ spdx, sentence string }{
	{"Apache-2.0", "Apache License Version 2.0, January 2004"},
	{"Apache-2.0", `Licensed under the Apache License, Version 2.0 (the "License")`},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted"},
	{"BSD", "Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions are met"},
	{"Unlicense", "This is free and unencumbered software released into the public domain"},
	{"CC0-1.0", "CC0 1.0 Universal"},
}

// refused are words of licences that ask for more than we pass on.
var refused = []string{
	"GNU GENERAL PUBLIC LICENSE", "GNU LESSER GENERAL PUBLIC LICENSE", "GNU AFFERO", "Mozilla Public License", "Business Source License",
	"Server Side Public License", "Commons Clause", "Elastic License", "Eclipse Public License", "Common Development and Distribution License",
	"European Union Public Licence", "All advertising materials mentioning features",
}

// classify returns the SPDX identifiers of the licences in a text.
func classify(text []byte) ([]string, error) {
	flat := strings.Join(strings.Fields(string(text)), " ")
	for _, words := range refused {
		if strings.Contains(strings.ToLower(flat), strings.ToLower(words)) {
			return nil, fmt.Errorf("it says %q", words)
		}
	}
	var found []string
	for _, g := range grants {
		if !strings.Contains(flat, g.sentence) {
			continue
		}
		spdx := g.spdx
		if spdx == "BSD" {
			spdx = "BSD-2-Clause"
			if strings.Contains(flat, "endorse or promote products derived from this software") {
				spdx = "BSD-3-Clause"
			}
		}
		if !slices.Contains(found, spdx) {
			found = append(found, spdx)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("its terms are not among those known as permissive")
	}
	return found, nil
}

// isGrant reports whether a file by its name holds a licence, rather than a
// notice or a grant of patents that adds to one.
func isGrant(path string) bool {
	name := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	return strings.HasPrefix(name, "licen") || strings.HasPrefix(name, "copying")
}

// render returns the files of the folder by their paths in it.
func render(modules []*module) (map[string][]byte, error) {
	files := make(map[string][]byte)
	var table strings.Builder
	table.WriteString("# Third-party licences\n\nWhat is linked into the `keyreeve` binary besides its own code. Made by `make licenses`; do not edit.\n\n")
	table.WriteString("| module | version | licence |\n|---|---|---|\n")
	for _, m := range modules {
		for path, text := range m.texts {
			if isGrant(path) {
				found, err := classify(text)
				if err != nil {
					return nil, fmt.Errorf("%s %s: %s: %w", m.path, m.version, path, err)
				}
				for _, spdx := range found {
					if !slices.Contains(m.licences, spdx) {
						m.licences = append(m.licences, spdx)
					}
				}
			}
			files[m.path+"/"+path] = text
		}
		if len(m.licences) == 0 {
			return nil, fmt.Errorf("%s %s has no licence", m.path, m.version)
		}
		slices.Sort(m.licences)
		fmt.Fprintf(&table, "| [%s](%s) | %s | %s |\n", m.path, m.path, m.version, strings.Join(m.licences, ", "))
	}
	files["README.md"] = []byte(table.String())
	return files, nil
}

// existing returns the files that stand in the folder.
func existing() (map[string][]byte, error) {
	files := make(map[string][]byte)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, path)
		files[filepath.ToSlash(rel)] = text
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return files, err
}

func compare(want map[string][]byte) error {
	got, err := existing()
	if err != nil {
		return err
	}
	var wrong []string
	for path, text := range want {
		if !bytes.Equal(got[path], text) {
			wrong = append(wrong, path)
		}
	}
	for path := range got {
		if want[path] == nil {
			wrong = append(wrong, path)
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("%s is not up to date; run make licenses (%s)", folder, strings.Join(wrong, ", "))
	}
	return nil
}

func write(files map[string][]byte) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	for path, text := range files {
		full := filepath.Join(folder, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
