package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
)

// someRecords returns records like those of Decrypt, of some size.
func someRecords(n int) [][]byte {
	records := make([][]byte, n)
	for i := range records {
		records[i] = fmt.Appendf(nil, `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROA%016d:app-%d","arn":"arn:aws:sts::111122223333:assumed-role/app/app-%d","accountId":"111122223333","accessKeyId":"ASIA%016d","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA%016d","arn":"arn:aws:iam::111122223333:role/app","accountId":"111122223333","userName":"app"},"attributes":{"creationDate":"2026-11-22T10:00:00Z","mfaAuthenticated":"false"}}},"eventTime":"2026-11-22T10:%02d:%02dZ","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.%d","userAgent":"aws-sdk-go-v2/1.40.0 ua/2.1 os/linux lang/go#1.26","requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"tenant":"%d"}},"responseElements":null,"additionalEventData":{"keyMaterialId":"%064x"},"requestID":"%08x-0000-4000-8000-%012x","eventID":"%08x-1111-4111-8111-%012x","readOnly":true,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-4000-8000-%012d"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.eu-central-1.example.com","keyExchange":"X25519MLKEM768"}}`,
			i%7, i%13, i%13, i%29, i%7, i/60%60, i%60, i%250, i%1000, uint64(i%50)*0x9e3779b97f4a7c15,
			uint32(i*2654435761), uint64(i)*0x9e3779b97f4a&0xffffffffffff, uint32(i*40503), uint64(i)*0xc2b2ae3d27d4&0xffffffffffff, i%50)
	}
	return records
}

// BenchmarkLogWriter is the writing of log files alone, for each record.
func BenchmarkLogWriter(b *testing.B) {
	records := someRecords(10_000)
	w := archive.NewLogWriter(io.Discard)
	b.SetBytes(int64(len(records[0])))
	i := 0
	for b.Loop() {
		if w.Size() >= archive.FileSize {
			if _, _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
			w.Reset(io.Discard)
		}
		if _, err := w.Add(records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	var file bytes.Buffer
	w.Reset(&file)
	for _, r := range records {
		if _, err := w.Add(r); err != nil {
			b.Fatal(err)
		}
	}
	before := w.Size()
	if _, _, err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(before)/float64(file.Len()), "ratio")
}

// BenchmarkDelivery is what a delivery costs for each record, all in all: from
// the journal to a file and the index.
func BenchmarkDelivery(b *testing.B) {
	dir := b.TempDir()
	st := store.NewMem()
	box, err := seal.Open(b.Context(), st, seal.Options{Provider: seal.Memory()})
	if err != nil {
		b.Fatal(err)
	}
	records, err := record.Open(b.Context(), st, box, record.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	log, err := audit.Open(dir, audit.Options{Reserve: -1, SegmentAge: -1})
	if err != nil {
		b.Fatal(err)
	}
	o := archive.Options{
		Dir: filepath.Join(dir, "archive"), Region: region, Journal: log, Records: records, Pause: func(context.Context, int) {},
	}
	if o.Index, err = archive.OpenIndex(b.Context(), o, index.Options{Dir: filepath.Join(dir, "index")}); err != nil {
		b.Fatal(err)
	}
	a, err := archive.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	const n = 20_000
	c := &call.Call{
		Service: "kms", Target: "Decrypt", Region: region, Host: "kms.eu-central-1.example.com", UserAgent: "aws-sdk-go-v2/1.40.0", ID: "6a3f0c52-0000-4000-8000-0123456789ab",
		TargetReadOnly: true, Time: time.Now(),
		Caller:    &call.Principal{Kind: call.User, Account: accountA, ID: "AIDAEXAMPLE", ARN: "arn:aws:iam::" + accountA + ":user/alice", Name: "alice", AccessKeyID: "AKIAEXAMPLE"},
		Resources: []call.Resource{{Account: accountA, Type: "AWS::KMS::Key", ARN: "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-4000-8000-000000000000"}},
	}
	delivered := 0
	for b.Loop() {
		b.StopTimer()
		for range n {
			if err := log.Append(c); err != nil {
				b.Fatal(err)
			}
		}
		if err := log.Cut(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := a.Deliver(b.Context()); err != nil {
			b.Fatal(err)
		}
		delivered += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(delivered), "ns/record")
	if err := log.Close(); err != nil {
		b.Error(err)
	}
	if err := o.Index.Close(); err != nil {
		b.Error(err)
	}
	if err := records.Close(); err != nil {
		b.Error(err)
	}
}
