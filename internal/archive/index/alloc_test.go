//go:build !race

package index_test

import (
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive/index"
)

// Scanning allocates what is new in a record: here, its id.
func TestScanAllocs(t *testing.T) {
	record := []byte(record(&index.Attributes{
		Time: time.Unix(1795000000, 0), EventID: "e1", EventName: "Decrypt", EventSource: "kms.amazonaws.com", ReadOnly: "true", Username: "alice",
		AccessKeyID: "AKIA1", Account: "111122223333", Region: "eu-central-1", Resources: []index.Resource{{Type: "AWS::KMS::Key", Name: "arn:key/1"}},
	}))
	var a index.Attributes
	if n := testing.AllocsPerRun(100, func() { index.Scan(record, &a) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
