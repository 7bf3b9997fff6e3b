package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// usual is how an error is provoked that is the same for many operations: the
// member of a successful input that is changed, and its value. Which of these
// an operation has to answer with, docs/aws-compatibility.md says.
var usual = map[string]struct {
	member string
	value  any
}{
	"DisabledException":          {"KeyId", "$off"},
	"DryRunOperationException":   {"DryRun", true},
	"InvalidArnException":        {"KeyId", "arn:aws:kms"},
	"InvalidGrantTokenException": {"GrantTokens", []string{"bm8="}},
	"InvalidKeyUsageException":   {"KeyId", "$mac"},
	"InvalidMarkerException":     {"Marker", "no marker"},
	"KMSInvalidStateException":   {"KeyId", "$gone"},
	"NotFoundException":          {"KeyId", "$missing"},
}

// compatibility is a row of docs/aws-compatibility.md.
type compatibility struct {
	parameters, refused, errors, never []string
	missing                            bool // the operation is not there
	// Of errors, those with an asterisk are left out: they are not for clients.
}

var (
	quoted  = regexp.MustCompile("`([A-Za-z]+)`")
	starred = regexp.MustCompile("`[A-Za-z]+`\\\\\\*")
)

// readCompatibility reads the table of docs/aws-compatibility.md.
func readCompatibility(t testing.TB) map[string]compatibility {
	t.Helper()
	text, err := os.ReadFile("../../docs/aws-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(cell string) (list []string) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			list = append(list, m[1])
		}
		return list
	}
	table := make(map[string]compatibility)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || len(names(cells[1])) != 1 {
			continue
		}
		table[names(cells[1])[0]] = compatibility{
			parameters: names(cells[2]), refused: names(cells[3]), errors: names(starred.ReplaceAllString(cells[4], "")), never: names(cells[5]),
			missing: strings.Contains(cells[2], "not there yet"),
		}
	}
	return table
}

// script runs testdata/operations.txt.
type script struct {
	client   *kms.Client
	kept     map[string]string
	table    map[string]compatibility
	met      map[string]bool           // "Operation" with success, "Operation Error"
	refusals map[string]bool           // "Operation Parameter" that was refused as unsupported
	inputs   map[string]map[string]any // of each operation's first success
}

// TestCompatibility calls every operation of the SDK, with success and with every
// error that the documentation says a client can meet.
func TestCompatibility(t *testing.T) {
	identity := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(settings(t)).GetCallerIdentity(t.Context(), nil))
	s := &script{
		client: client(t), table: readCompatibility(t), met: make(map[string]bool), refusals: make(map[string]bool), inputs: make(map[string]map[string]any),
		kept: map[string]string{"missing": "12345678-1234-1234-1234-123456789012", "me": *identity.Arn},
	}
	text, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		times, rest, ok := strings.Cut(line, " × ")
		if !ok {
			times, rest = "1", line
		}
		n, err := strconv.Atoi(times)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		for k := range n {
			s.kept["n"] = strconv.Itoa(k + 1)
			if err := s.line(t, rest); err != nil {
				t.Errorf("line %d: %s: %v", i+1, line, err)
			}
		}
	}
	for _, operation := range operations() {
		row, ok := s.table[operation]
		if !ok {
			t.Errorf("docs/aws-compatibility.md says nothing of %s", operation)
			continue
		}
		if row.missing {
			if slices.Contains(routed, operation) {
				t.Errorf("docs/aws-compatibility.md says that %s is not there", operation)
			}
			continue
		}
		if !s.met[operation] {
			t.Errorf("%s was never called with success", operation)
			continue
		}
		s.provokeUsual(t, operation)
		for _, code := range row.errors {
			if !s.met[operation+" "+code] {
				t.Errorf("%s never ended with %s", operation, code)
			}
		}
		for _, code := range row.never {
			if s.met[operation+" "+code] {
				t.Errorf("%s ends with %s, of which docs/aws-compatibility.md says that it never does", operation, code)
			}
		}
		for _, parameter := range row.refused {
			if !s.refusals[operation+" "+parameter] {
				t.Errorf("%s of %s was not refused", parameter, operation)
			}
		}
		method, _ := reflect.TypeFor[*kms.Client]().MethodByName(operation)
		var has []string
		for field := range method.Type.In(2).Elem().Fields() {
			if field.IsExported() {
				has = append(has, field.Name)
			}
		}
		said := append(slices.Clone(row.parameters), row.refused...)
		slices.Sort(said)
		slices.Sort(has)
		if !slices.Equal(said, has) {
			t.Errorf("docs/aws-compatibility.md gives %s the parameters %v, the SDK %v", operation, said, has)
		}
	}
	for operation := range s.table {
		if !slices.Contains(operations(), operation) {
			t.Errorf("docs/aws-compatibility.md has %s, which the SDK does not know", operation)
		}
	}
}

// line runs one line.
func (s *script) line(t *testing.T, line string) error {
	code := ""
	if rest, ok := strings.CutPrefix(line, "! "); ok {
		code, line, _ = strings.Cut(rest, " ")
	}
	operation, rest, _ := strings.Cut(line, " ")
	d := json.NewDecoder(strings.NewReader(rest))
	var input map[string]any
	if err := d.Decode(&input); err != nil {
		return err
	}
	keep := strings.Fields(rest[d.InputOffset():])
	if code != "" {
		err := s.provoke(t, operation, input, code)
		if err == nil && code == "UnsupportedOperationException" {
			for member := range input {
				s.refusals[operation+" "+member] = true
			}
		}
		return err
	}
	out, err := s.call(t, operation, input)
	if err != nil {
		return err
	}
	for _, pair := range keep {
		name, path, _ := strings.Cut(pair, "=")
		value := any(out)
		for member := range strings.SplitSeq(path, ".") {
			object, _ := value.(map[string]any)
			value = object[member]
		}
		text, ok := value.(string)
		if !ok || text == "" {
			return fmt.Errorf("the answer has no %s", path)
		}
		s.kept[name] = text
	}
	if !s.met[operation] {
		s.met[operation] = true
		s.inputs[operation] = input
	}
	return nil
}

// provokeUsual provokes what can be provoked by changing one member.
func (s *script) provokeUsual(t *testing.T, operation string) {
	for _, code := range s.table[operation].errors {
		way, ok := usual[code]
		if !ok || s.met[operation+" "+code] {
			continue
		}
		bad := maps.Clone(s.inputs[operation])
		bad[way.member] = way.value
		if err := s.provoke(t, operation, bad, code); err != nil {
			t.Error(err)
		}
	}
}

// provoke calls an operation that is to fail with an error.
func (s *script) provoke(t *testing.T, operation string, input map[string]any, code string) error {
	_, err := s.call(t, operation, input)
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s %v: error = %w, want %s", operation, input, err, code)
	}
	if answer.ErrorCode() != code {
		return fmt.Errorf("%s %v: error = %w, want %s", operation, input, err, code)
	}
	s.met[operation+" "+code] = true
	return nil
}

// call calls an operation of the SDK by its name, and returns its output as
// JSON decodes it, blobs in base64.
func (s *script) call(t *testing.T, operation string, input map[string]any) (map[string]any, error) {
	method := reflect.ValueOf(s.client).MethodByName(operation)
	if !method.IsValid() {
		return nil, errors.New("the SDK has no such operation")
	}
	text, err := json.Marshal(s.expand(t, input))
	if err != nil {
		return nil, err
	}
	in := reflect.New(method.Type().In(1).Elem())
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(in.Interface()); err != nil {
		return nil, err
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
	if err, _ := results[1].Interface().(error); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(results[0].Interface()); err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(text, &out)
}

var variable = regexp.MustCompile(`\$[a-zA-Z]+`)

// expand puts in what stands for something else.
func (s *script) expand(t *testing.T, v any) any {
	switch v := v.(type) {
	case string:
		text := variable.ReplaceAllStringFunc(v, func(name string) string {
			value, ok := s.kept[name[1:]]
			if !ok {
				t.Errorf("%s is nothing", name)
			}
			return value
		})
		if f := strings.Fields(strings.Trim(text, "{}")); strings.HasPrefix(text, "{{") && len(f) == 3 && f[0] == "wrap" {
			return wrap(t, f[1], f[2])
		}
		return text
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, value := range v {
			m[name] = s.expand(t, value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = s.expand(t, v[i])
		}
		return list
	}
	return v
}

// wrap encrypts 32 bytes that a name stands for to a public key, as
// ImportKeyMaterial wants it.
func wrap(t *testing.T, name, public string) string {
	t.Helper()
	spki, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	material := sha256.Sum256([]byte(name))
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key.(*rsa.PublicKey), material[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(wrapped)
}
