// Command apigen generates internal/api/kmsapi from the model of AWS KMS, and
// iamapi, stsapi, organizationsapi, accountapi and cloudtrailapi beside it from
// those of AWS IAM, STS, Organizations, Account Management and CloudTrail.
//
// For KMS it merges two pinned modules, aws-sdk-go-v2/service/kms (shapes, enums,
// required members, exceptions: current) and aws-sdk-go (lengths, ranges,
// patterns: frozen in 2025), with an overlay typed by hand; the second has the
// models of the other services, too. It takes names and constraints, which are
// facts, and no documentation.
//
//	cd tools/apigen && go run . -out ../../internal/api
//
// # To add an operation
//
// Every service but KMS has only the operations that are named in its overlay's
// list routed (overlay_query.go, overlay_json.go). To add one: put its name
// there, run make gen, and give the package's new method of Handler to what
// implements it; the list and the method are one commit, for neither builds
// without the other. An operation of KMS is routed in the table of overlay.go.
//
// In the same overlay stand what the model does not say: members that CloudTrail
// does not show (hidden), operations that change nothing and whose answers it
// shows all the same (shown), members of answers that are there even when empty
// (always), values and members that are newer than the model (newer). Answers to
// operations that change something are shown whole but for secrets.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	modelModule       = "github.com/aws/aws-sdk-go-v2/service/kms"
	constraintsModule = "github.com/aws/aws-sdk-go"
)

func main() {
	out := flag.String("out", "", "write the generated packages below this `directory`")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "apigen:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	files, err := generate()
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(out, "*", "*_gen.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		name, err := filepath.Rel(out, path)
		if err != nil {
			return err
		}
		if _, ok := files[filepath.ToSlash(name)]; !ok {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		path := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the generated files by package and name, such as
// "kmsapi/types_gen.go".
func generate() (map[string][]byte, error) {
	sdk, err := moduleDir(modelModule)
	if err != nil {
		return nil, err
	}
	m, err := readSDK(sdk)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", modelModule, err)
	}
	old, err := moduleDir(constraintsModule)
	if err != nil {
		return nil, err
	}
	m.invalid, m.violated = "ValidationException", "v.Err()"
	if err := m.addConstraints(old); err != nil {
		return nil, fmt.Errorf("reading %s: %w", constraintsModule, err)
	}
	if err := m.apply(); err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	add := func(pkg string, files map[string][]byte, err error) error {
		if err != nil {
			return fmt.Errorf("package %s: %w", pkg, err)
		}
		for name, text := range files {
			all[pkg+"/"+name] = text
		}
		return nil
	}
	files, err := m.emit()
	if err := add("kmsapi", files, err); err != nil {
		return nil, err
	}
	for _, svc := range queryServices {
		q, err := readQuery(old, svc)
		if err != nil {
			return nil, fmt.Errorf("the model of %s: %w", svc.name, err)
		}
		files, err := q.emit()
		if err := add(svc.pkg, files, err); err != nil {
			return nil, err
		}
	}
	for _, svc := range jsonServices {
		j, err := readJSON(old, svc)
		if err != nil {
			return nil, fmt.Errorf("the model of %s: %w", svc.name, err)
		}
		files, err := j.emit()
		if err := add(svc.pkg, files, err); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// moduleDir returns where the module cache holds the version that go.mod pins,
// after fetching it if need be.
func moduleDir(path string) (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", path).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("finding module %s: %w", path, err)
	}
	var mod struct{ Dir string }
	if err := json.Unmarshal(out, &mod); err != nil {
		return "", fmt.Errorf("finding module %s: %w", path, err)
	}
	return mod.Dir, nil
}
