//go:build ignore

// Command render writes docs/configuration.md from the comments of package
// config.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"reflect"
	"strconv"
	"strings"
)

func main() {
	f, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		log.Fatal(err)
	}
	structs, docs := map[string]*ast.StructType{}, map[string]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t := s.(*ast.TypeSpec)
			if st, ok := t.Type.(*ast.StructType); ok {
				structs[t.Name.Name], docs[t.Name.Name] = st, g.Doc.Text()
			}
		}
	}
	var b bytes.Buffer
	fmt.Fprint(&b, "# Configuration\n\n<!-- Made from internal/config/config.go by `make gen`; change it there. -->\n\n",
		"`keyreeve serve --config FILE` reads one YAML file. Flags of the command line win over it.\n",
		"`keyreeve config check FILE` checks one. Unknown settings are errors, and every setting may be left out.\n")
	var sections []string
	// lists are the types of the elements of lists, with the settings that have
	// them.
	type list struct{ name, of string }
	var lists []list
	write := func(prefix string, st *ast.StructType) {
		for _, field := range st.Fields.List {
			name := reflect.StructTag(must(strconv.Unquote(field.Tag.Value))).Get("yaml")
			if id, ok := field.Type.(*ast.Ident); ok && structs[id.Name] != nil {
				sections = append(sections, id.Name)
				continue
			}
			if l, ok := field.Type.(*ast.ArrayType); ok {
				if id, ok := l.Elt.(*ast.Ident); ok && structs[id.Name] != nil {
					lists = append(lists, list{prefix + name, id.Name})
				}
			}
			fmt.Fprintf(&b, "\n**`%s%s`**: %s\n", prefix, name, strings.Join(strings.Fields(field.Doc.Text()), " "))
		}
	}
	write("", structs["Config"])
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", strings.ToLower(s), strings.Join(strings.Fields(docs[s]), " "))
		write(strings.ToLower(s)+".", structs[s])
		for _, l := range lists {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n", l.name, strings.Join(strings.Fields(docs[l.of]), " "))
			write("", structs[l.of])
		}
		lists = nil
	}
	if err := os.WriteFile("../../docs/configuration.md", b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func must(s string, err error) string {
	if err != nil {
		log.Fatal(err)
	}
	return s
}
