package archive_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"runtime"
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

// someCalls returns calls of some callers with some keys.
func someCalls(n int) []*call.Call {
	calls := make([]*call.Call, n)
	now := time.Now()
	for i := range calls {
		role := fmt.Sprintf("AROA%016d", i%7)
		session := fmt.Sprintf("app-%d", i%13)
		c := &call.Call{
			Service: "kms", Target: "Decrypt", TargetReadOnly: true, Region: region, Host: "kms.eu-central-1.example.com",
			UserAgent: "aws-sdk-go-v2/1.40.0 ua/2.1 os/linux lang/go#1.26", Source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 250)}), 40000),
			ID: fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i*2654435761), uint64(i)*0x9e3779b97f4a&0xffffffffffff), Time: now.Add(time.Duration(i) * time.Millisecond / 2),
			TLS: call.TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Group: uint16(tls.X25519MLKEM768)},
			Caller: &call.Principal{
				Kind: call.RoleSession, Account: accountA, ID: role + ":" + session, EntityID: role,
				ARN: "arn:aws:sts::" + accountA + ":assumed-role/app/" + session, EntityARN: "arn:aws:iam::" + accountA + ":role/app",
				AccessKeyID: fmt.Sprintf("ASIA%016d", i%29), Session: &call.Session{Issued: now, Expires: now.Add(time.Hour), Name: session},
			},
		}
		c.AddKey(fmt.Sprintf("arn:aws:kms:eu-central-1:"+accountA+":key/00000000-0000-4000-8000-%012d", i%50), accountA)
		calls[i] = c
	}
	return calls
}

// BenchmarkDelivery is what a delivery costs for each record, all in all: from
// the journal to a file and the index. The CPU time is what counts: the rest is
// waiting for the disk.
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
	log.Protect(box)
	o := archive.Options{
		Dir: filepath.Join(dir, "archive"), Region: region, Journal: log, Records: records, Pause: func(context.Context, int) {},
	}
	if o.Index, err = archive.OpenIndex(b.Context(), o, index.Options{Dir: filepath.Join(dir, "index"), Box: box}); err != nil {
		b.Fatal(err)
	}
	a, err := archive.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	const n = 20_000
	calls := someCalls(n)
	delivered, size := 0, int64(0)
	var user, system time.Duration
	for b.Loop() {
		b.StopTimer()
		for _, c := range calls {
			if err := log.Append(c); err != nil {
				b.Fatal(err)
			}
		}
		if err := log.Cut(); err != nil {
			b.Fatal(err)
		}
		runtime.GC() // of what is not the delivery's
		b.StartTimer()
		userBefore, systemBefore := cpuTime()
		if err := a.Deliver(b.Context()); err != nil {
			b.Fatal(err)
		}
		userAfter, systemAfter := cpuTime()
		user, system = user+userAfter-userBefore, system+systemAfter-systemBefore
		delivered += n
		segments, err := log.Segments()
		if err != nil {
			b.Fatal(err)
		}
		size += segments[len(segments)-1].Size
	}
	b.ReportMetric(float64(user)/float64(delivered), "user-ns/record")
	b.ReportMetric(float64(system)/float64(delivered), "system-ns/record")
	b.ReportMetric(float64(size)/float64(delivered), "bytes/record")
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
