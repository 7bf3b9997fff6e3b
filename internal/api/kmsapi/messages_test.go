package kmsapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

type (
	message = kmsapi.Message
	input   = kmsapi.Input
	output  = kmsapi.Output
)

var operations = kmsapi.Messages()

const planted = "pl4nted-s3cret-do-not-print"

// fill sets every field of a message: secrets to planted, the rest to
// something.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		if field := v.Field(i); field.CanSet() {
			fillField(field)
		}
	}
}

func fillField(field reflect.Value) {
	switch value := field.Addr().Interface().(type) {
	case *secret.Bytes:
		*value = secret.New([]byte(planted))
		return
	case *time.Time:
		*value = time.UnixMilli(1660171107250).UTC()
		return
	case *wire.StringMap:
		*value = wire.NewStringMap(wire.Pair{Name: "name", Value: "value"})
		return
	case *[]byte:
		*value = []byte("blob")
		return
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString("text")
	case reflect.Bool:
		field.SetBool(true)
	case reflect.Int32:
		field.SetInt(7)
	case reflect.Struct:
		fill(field)
	case reflect.Pointer:
		field.Set(reflect.New(field.Type().Elem()))
		fillField(field.Elem())
	case reflect.Slice:
		field.Set(reflect.MakeSlice(field.Type(), 2, 2))
		fillField(field.Index(0))
		fillField(field.Index(1))
	default:
		panic("no filling for " + field.Type().String())
	}
}

// secrets calls f for every secret in a message.
func secrets(v reflect.Value, f func(secret.Bytes)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			secrets(v.Elem(), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			secrets(v.Index(i), f)
		}
	case reflect.Struct:
		if s, ok := v.Interface().(secret.Bytes); ok {
			f(s)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				secrets(v.Field(i), f)
			}
		}
	}
}

// each runs f for the input and the output of every operation, empty.
func each(t *testing.T, f func(t *testing.T, name string, make func() message)) {
	t.Helper()
	if len(operations) != 56 {
		t.Fatalf("the API has %d operations, want 56", len(operations))
	}
	for _, op := range operations {
		f(t, op.Name+"Input", func() message { return op.Input() })
		f(t, op.Name+"Output", func() message { return op.Output() })
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	each(t, func(t *testing.T, name string, make func() message) {
		m := make()
		fill(reflect.ValueOf(m).Elem())
		body := m.AppendJSON(nil)
		if len(body) > 0 && !json.Valid(body) {
			t.Fatalf("%s: not JSON: %s", name, body)
		}
		again := make()
		if err := again.DecodeJSON(body); err != nil {
			t.Fatalf("%s: %v in %s", name, err, body)
		}
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%s: sent %+v, received %+v", name, m, again)
		}
	})
}

func TestEveryInputDecodesAnEmptyObject(t *testing.T) {
	for _, op := range operations {
		in := op.Input()
		if err := in.DecodeJSON([]byte("{}")); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
		if got := string(in.AppendJSON(nil)); got != "{}" {
			t.Errorf("%s: {} became %s", op.Name, got)
		}
		if err := in.Validate(); err != nil && !strings.Contains(err.Error(), "Member must not be null") {
			t.Errorf("%s: %v", op.Name, err)
		}
		if err := in.DecodeJSON([]byte(`{"Unknown":[{"a":1}],"KeyIdX":2}`)); err != nil {
			t.Errorf("%s: unknown members: %v", op.Name, err)
		}
		for _, body := range []string{"", "null", "[]", "{", `"x"`, "{}{}", "\xff"} {
			if e := wire.AsError(in.DecodeJSON([]byte(body))); e == nil || e.Code != "SerializationException" {
				t.Errorf("%s: %q: %v, want SerializationException", op.Name, body, e)
			}
		}
	}
}

func TestWrongTypeOfEachMember(t *testing.T) {
	// Each value is wrong for every member that does not want just that.
	for _, op := range operations {
		full := op.Input()
		fill(reflect.ValueOf(full).Elem())
		var members map[string]json.RawMessage
		if err := json.Unmarshal(full.AppendJSON(nil), &members); err != nil {
			t.Fatal(err)
		}
		for name, right := range members {
			for _, wrong := range []string{`"x"`, `1`, `true`, `{"x":1}`, `[1]`, strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)} {
				if right[0] == '"' && wrong[0] == '"' || right[0] == '1' && wrong == "1" || right[0] == '7' && wrong == "1" ||
					right[0] == 't' && wrong == "true" || right[0] == '{' && strings.HasPrefix(wrong, "{") {
					continue
				}
				e := wire.AsError(op.Input().DecodeJSON([]byte(`{"` + name + `":` + wrong + `}`)))
				if e == nil || e.Code != "SerializationException" {
					t.Errorf("%s: %s is %.20s: %v, want SerializationException", op.Name, name, wrong, e)
				}
			}
			if err := op.Input().DecodeJSON([]byte(`{"` + name + `":null}`)); err != nil {
				t.Errorf("%s: %s is null: %v", op.Name, name, err)
			}
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	forms := []string{planted, base64.StdEncoding.EncodeToString([]byte(planted)), hex.EncodeToString([]byte(planted)), fmt.Sprint([]byte(planted))}
	found := 0
	each(t, func(t *testing.T, name string, make func() message) {
		m := make()
		fill(reflect.ValueOf(m).Elem())
		secrets(reflect.ValueOf(m), func(secret.Bytes) { found++ })
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "m", m)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "m", m)
		asJSON, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		audit := m.AppendAudit([]byte("before"))
		if !json.Valid(audit[len("before"):]) || !bytes.HasPrefix(audit, []byte("before")) {
			t.Errorf("%s: audit form is not JSON: %s", name, audit)
		}
		shown := map[string]string{
			"%v": fmt.Sprintf("%v", m), "%+v": fmt.Sprintf("%+v", m), "%#v": fmt.Sprintf("%#v", m), "%s": fmt.Sprintf("%s", m),
			"%x": fmt.Sprintf("%x", m), "JSON": string(asJSON), "slog": log.String(), "audit": string(audit),
		}
		if in, ok := m.(input); ok {
			if err := in.Validate(); err != nil {
				shown["validation"] = err.Error()
			}
		}
		for how, text := range shown {
			for _, form := range forms {
				if strings.Contains(text, form) {
					t.Errorf("%s shows a secret by %s: %s", name, how, text)
				}
			}
		}
		kmsapi.Wipe(m)
		secrets(reflect.ValueOf(m), func(s secret.Bytes) {
			if !bytes.Equal(s.Reveal(), bytes.Repeat([]byte{0}, len(planted))) {
				t.Errorf("%s: a secret was not wiped", name)
			}
		})
	})
	if found < 15 {
		t.Errorf("planted only %d secrets", found)
	}
}
