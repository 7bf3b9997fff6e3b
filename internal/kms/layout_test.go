package kms_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/keyreeve/keyreeve/internal/kms"
)

// What is printed says the same, and is printed the same again.
func FuzzLayOut(f *testing.F) {
	for _, text := range []string{
		everything, delegation, `{}`, `[]`, `{"a":[{},[1.50e3,null,true,"\u00e9\ud83d\ude00\n"]]}`, `{"Statement":{"Action":"a","Sid":"b"}}`, `1`, `{`, ``,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		printed := kms.LayOut(text)
		var want, got any
		if json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		if err := json.Unmarshal([]byte(printed), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is printed as %q, %v", text, printed, err)
		}
		if again := kms.LayOut(printed); again != printed {
			t.Fatalf("%q is printed again as %q", printed, again)
		}
	})
}
