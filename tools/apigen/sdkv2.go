package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// readSDK reads what aws-sdk-go-v2/service/kms knows: every shape with its
// members in order, the names of enum constants, and the required members.
//
// It reads source rather than importing the package: smithy.Schema keeps
// members in a map, and their order is the order of validation messages.
func readSDK(dir string) (*model, error) {
	m := &model{shapes: map[string]*shape{}}
	fset := token.NewFileSet()
	parse := func(name string) (*ast.File, error) {
		return parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
	}

	schemas, err := parse("schemas/schemas.go")
	if err != nil {
		return nil, err
	}
	if err := m.addSchemas(schemas); err != nil {
		return nil, fmt.Errorf("schemas.go: %w", err)
	}
	for _, op := range m.operations {
		file, err := parse("api_op_" + op.name + ".go")
		if err != nil {
			return nil, err
		}
		if err := m.addMessages(op, file); err != nil {
			return nil, fmt.Errorf("operation %s: %w", op.name, err)
		}
	}
	enums, err := parse("types/enums.go")
	if err != nil {
		return nil, err
	}
	if err := m.addConstants(enums); err != nil {
		return nil, fmt.Errorf("enums.go: %w", err)
	}
	validators, err := parse("validators.go")
	if err != nil {
		return nil, err
	}
	if err := m.addRequired(validators); err != nil {
		return nil, fmt.Errorf("validators.go: %w", err)
	}
	return m, nil
}

var kinds = map[string]kind{
	"ShapeTypeBlob":      kindBlob,
	"ShapeTypeBoolean":   kindBoolean,
	"ShapeTypeEnum":      kindEnum,
	"ShapeTypeInteger":   kindInteger,
	"ShapeTypeList":      kindList,
	"ShapeTypeMap":       kindMap,
	"ShapeTypeOperation": kindOperation,
	"ShapeTypeService":   kindService,
	"ShapeTypeString":    kindString,
	"ShapeTypeStructure": kindStructure,
	"ShapeTypeTimestamp": kindTimestamp,
}

func (m *model) addSchemas(file *ast.File) error {
	byVar := map[string]*shape{}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok || len(v.Values) != 1 {
					continue
				}
				s, err := newShape(v.Values[0])
				if err != nil {
					return fmt.Errorf("%s: %w", v.Names[0].Name, err)
				}
				if s == nil {
					continue
				}
				byVar[v.Names[0].Name] = s
				m.shapes[s.name] = s
				if s.kind == kindOperation {
					m.operations = append(m.operations, &operation{name: s.name})
				}
			}
		case *ast.FuncDecl:
			if decl.Name.Name != "init" {
				continue
			}
			for _, stmt := range decl.Body.List {
				if err := addMember(byVar, stmt); err != nil {
					return err
				}
			}
		}
	}
	slices.SortFunc(m.operations, func(a, b *operation) int { return strings.Compare(a.name, b.name) })
	return nil
}

// addMessages reads smithy.NewOperationSchema(operation, input, output).
func (m *model) addMessages(op *operation, file *ast.File) error {
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && selected(call.Fun) == "NewOperationSchema" {
			op.input = m.shapes[selected(call.Args[1])]
			op.output = m.shapes[selected(call.Args[2])]
		}
		return true
	})
	if op.input == nil {
		return errors.New("has no input")
	}
	return nil
}

// newShape reads smithy.NewSchema(smithy.ShapeID{…, Name: n}, smithy.ShapeTypeT,
// members, traits…). It returns nil for any other expression.
func newShape(e ast.Expr) (*shape, error) {
	call, ok := e.(*ast.CallExpr)
	if !ok || selected(call.Fun) != "NewSchema" {
		return nil, nil
	}
	id, ok := call.Args[0].(*ast.CompositeLit)
	if !ok {
		return nil, fmt.Errorf("shape id is %T", call.Args[0])
	}
	s := &shape{}
	for _, field := range id.Elts {
		kv := field.(*ast.KeyValueExpr)
		if kv.Key.(*ast.Ident).Name == "Name" {
			s.name = unquote(kv.Value)
		}
	}
	if s.kind, ok = kinds[selected(call.Args[1])]; !ok {
		return nil, fmt.Errorf("shape type %s is not known", selected(call.Args[1]))
	}
	for _, arg := range call.Args[3:] {
		lit, ok := arg.(*ast.UnaryExpr).X.(*ast.CompositeLit)
		if !ok {
			return nil, fmt.Errorf("trait is %T", arg)
		}
		switch selected(lit.Type) {
		case "Sensitive":
			s.sensitive = true
		case "Error":
			s.exception = true
			for _, field := range lit.Elts {
				if kv := field.(*ast.KeyValueExpr); kv.Key.(*ast.Ident).Name == "Type" {
					s.fault = unquote(kv.Value) == "server"
				}
			}
		case "HTTPError", "AWSQueryError", "XMLNamespace":
			// of no meaning in awsJson1_1
		default:
			return nil, fmt.Errorf("trait %s is not known", selected(lit.Type))
		}
	}
	return s, nil
}

// addMember reads X_y = X.AddMember("y", target).
func addMember(byVar map[string]*shape, stmt ast.Stmt) error {
	assign, ok := stmt.(*ast.AssignStmt)
	if !ok {
		return fmt.Errorf("statement is %T", stmt)
	}
	call := assign.Rhs[0].(*ast.CallExpr)
	fun := call.Fun.(*ast.SelectorExpr)
	if fun.Sel.Name != "AddMember" || len(call.Args) != 2 {
		return fmt.Errorf("call is not AddMember(name, target)")
	}
	owner := byVar[fun.X.(*ast.Ident).Name]
	if owner == nil {
		return fmt.Errorf("schema %s is not declared", fun.X.(*ast.Ident).Name)
	}
	mem := &member{name: unquote(call.Args[0])}
	if target, ok := call.Args[1].(*ast.Ident); ok {
		if mem.target = byVar[target.Name]; mem.target == nil {
			return fmt.Errorf("schema %s is not declared", target.Name)
		}
	}
	owner.members = append(owner.members, mem)
	return nil
}

// addConstants reads const KeySpecRsa2048 KeySpec = "RSA_2048".
func (m *model) addConstants(file *ast.File) error {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			enum := m.shapes[v.Type.(*ast.Ident).Name]
			if enum == nil || enum.kind != kindEnum {
				return fmt.Errorf("%s is not of an enum", v.Names[0].Name)
			}
			enum.values = append(enum.values, enumValue{constant: v.Names[0].Name, value: unquote(v.Values[0])})
		}
	}
	return nil
}

// addRequired reads the functions that build
// smithy.InvalidParamsError{Context: type} and add NewErrParamRequired(member).
func (m *model) addRequired(file *ast.File) error {
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil {
			continue
		}
		var owner *shape
		var err error
		ast.Inspect(fn, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if selected(n.Type) != "InvalidParamsError" {
					break
				}
				name := unquote(n.Elts[0].(*ast.KeyValueExpr).Value)
				if owner = m.shapes[name]; owner == nil {
					owner = m.shapes[strings.TrimSuffix(name, "Input")+"Request"]
				}
			case *ast.CallExpr:
				if selected(n.Fun) != "NewErrParamRequired" {
					break
				}
				mem := owner.member(unquote(n.Args[0]))
				if mem == nil {
					err = fmt.Errorf("%s has no member %s", owner.name, unquote(n.Args[0]))
					break
				}
				mem.required = true
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// selected returns Y of the expression x.Y.
func selected(e ast.Expr) string {
	if sel, ok := e.(*ast.SelectorExpr); ok {
		return sel.Sel.Name
	}
	return ""
}

func unquote(e ast.Expr) string {
	s, err := strconv.Unquote(e.(*ast.BasicLit).Value)
	if err != nil {
		panic(err) // the parser has accepted it
	}
	return s
}
