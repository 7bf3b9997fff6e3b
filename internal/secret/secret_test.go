package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/secret"
)

const planted = "correct horse battery staple"

// Every usual way to print a value, and values that hold one.
func TestDoesNotPrint(t *testing.T) {
	type inner struct {
		Key  secret.Bytes
		more secret.Bytes
	}
	s := secret.New([]byte(planted))
	holder := inner{s, s}
	values := map[string]any{
		"value": s, "pointer": &s, "struct": holder, "pointer to struct": &holder,
		"slice": []secret.Bytes{s}, "map": map[string]secret.Bytes{"k": s}, "interface": []any{s, holder},
	}
	// What a byte slice looks like under %v, %x and %q.
	leaks := []string{planted, fmt.Sprintf("%v", []byte(planted))[1:20], fmt.Sprintf("%x", planted), fmt.Sprintf("%X", planted)}
	for name, v := range values {
		var outs []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%T %[1]v"} {
			outs = append(outs, fmt.Sprintf(verb, v))
		}
		outs = append(outs, fmt.Sprint(v), fmt.Errorf("wrapped: %w", fmt.Errorf("%v", v)).Error())
		if b, err := json.Marshal(v); err == nil {
			outs = append(outs, string(b))
		}
		if b, err := xml.Marshal(v); err == nil {
			outs = append(outs, string(b))
		}
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		_ = gob.NewEncoder(&b).Encode(v)
		outs = append(outs, b.String())
		for _, out := range outs {
			for _, leak := range leaks {
				if strings.Contains(out, leak) {
					t.Errorf("%s printed as %q", name, out)
				}
			}
		}
	}
}

func TestBytes(t *testing.T) {
	var none secret.Bytes
	if !none.IsNil() || none.Len() != 0 || !none.Equal(secret.New([]byte{})) {
		t.Error("the zero value is not absent and empty")
	}
	if secret.New([]byte{}).IsNil() {
		t.Error("empty bytes count as absent")
	}
	a, b := secret.New([]byte("abc")), secret.New([]byte("abd"))
	if a.Equal(b) || !a.Equal(secret.New([]byte("abc"))) || a.Equal(secret.New([]byte("ab"))) {
		t.Error("Equal is wrong")
	}
	back := make([]byte, 6)
	copy(back, "abcxyz")
	secret.New(back[:3]).Wipe()
	if string(back) != "\x00\x00\x00xyz" {
		t.Errorf("Wipe left %q: it must wipe the bytes, and nothing beyond them", back)
	}
}
