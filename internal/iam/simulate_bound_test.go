//go:build !race

package iam_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSimulationOfManyKeysIsBounded: condition keys that are missing are told
// for every decision, so that there are fewer decisions on a page.
func TestSimulationOfManyKeysIsBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	many := func(name string) string {
		var b strings.Builder
		b.WriteString(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"zz:*","Resource":"*","Condition":{"Null":{"z:z":"true"`)
		for i := 0; b.Len() < 120_000; i++ {
			fmt.Fprintf(&b, `,"%s%x":"true"`, name, i)
		}
		return b.String() + `}}}]}`
	}
	for _, name := range []string{"a:", "a:" + strings.Repeat("k", 90)} {
		q := map[string]any{"PolicyInputList": []any{many(name)}, "MaxItems": 500}
		var actions []any
		for i := range 500 {
			actions = append(actions, fmt.Sprintf("kms:Action%d", i))
		}
		q["ActionNames"] = actions
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		a := e.call(e.who("alice"), "SimulateCustomPolicy", string(text))
		if a.err != nil {
			t.Fatal(a.text())
		}
		result, _ := e.result(a.body).(map[string]any)
		n := len(object(result).list("EvaluationResults"))
		if n == 0 || n >= 500 || len(a.body) > 32<<20 {
			t.Errorf("%d results in %d bytes", n, len(a.body))
		}
		t.Log(n, len(a.body), time.Since(start))
	}
}
