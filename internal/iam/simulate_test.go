package iam_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSimulationIsBounded: long policies and many questions cost a bounded time,
// and answers stay small.
func TestSimulationIsBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	statement := `{"Effect":"Allow","Action":"*","Resource":"*"}`
	long := `{"Version":"2012-10-17","Statement":[` + strings.Repeat(statement+",", 2500) + statement + `]}`
	ask := func(policies, actions, resources int) (object, string) {
		q := map[string]any{}
		var list []any
		for range policies {
			list = append(list, long)
		}
		q["PolicyInputList"] = list
		list = nil
		for i := range actions {
			list = append(list, fmt.Sprintf("kms:Action%d", i))
		}
		q["ActionNames"] = list
		list = nil
		for i := range resources {
			list = append(list, fmt.Sprintf("arn:aws:s3:::b%d", i))
		}
		q["ResourceArns"] = list
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		a := e.call(e.who("alice"), "SimulateCustomPolicy", string(text))
		if a.err != nil {
			return nil, a.text()
		}
		if len(a.body) > 32<<20 {
			t.Errorf("an answer of %d bytes", len(a.body))
		}
		result, _ := e.result(a.body).(map[string]any)
		return result, ""
	}
	start := time.Now()
	result, text := ask(4, 500, 1)
	if n := len(result.list("EvaluationResults")); text != "" || n == 0 || n >= 500 {
		t.Fatalf("%d results, %s", n, text)
	}
	first, _ := result.list("EvaluationResults")[0].(map[string]any)
	if n := len(object(first).list("MatchedStatements")); n != 50 {
		t.Errorf("%d statements are told", n)
	}
	if _, text := ask(4, 1, 500); text != "InvalidInput 400: There are too many ResourceArns for policies of this size." {
		t.Errorf("many resources: %q", text)
	}
	t.Log(time.Since(start))
}
