package audit_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

// BenchmarkAppend is the record and its write(2), to a real file; CreateKey
// waits for the disk too. The record has about 1,050 bytes. On a machine that
// others use too, cpu-ns/op says more than ns/op.
func BenchmarkAppend(b *testing.B) {
	for _, kind := range []struct {
		name      string
		operation *call.Operation
	}{{"Decrypt", decrypt}, {"CreateKey", createKey}} {
		for _, goroutines := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/goroutines=%d", kind.name, goroutines), func(b *testing.B) {
				l := openLog(b, b.TempDir(), audit.Options{SegmentSize: 64 << 20}, nil)
				b.ReportAllocs()
				b.ResetTimer()
				before := cpuTime()
				concurrently(goroutines, func(worker int) {
					c := newCall()
					c.Operation = kind.operation
					for i := worker; i < b.N; i += goroutines {
						if err := l.Append(c); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.StopTimer()
				b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
				if err := l.Close(); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

// BenchmarkRecord is the making of the record alone, into memory.
func BenchmarkRecord(b *testing.B) {
	l, err := audit.Open("", audit.Options{Memory: 1})
	if err != nil {
		b.Fatal(err)
	}
	c := newCall()
	b.ReportAllocs()
	b.SetBytes(int64(len(record(b, c))))
	for b.Loop() {
		if err := l.Append(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTag is what it costs to close a write of a record or of many, of
// about 1,050 bytes each; per record.
func BenchmarkTag(b *testing.B) {
	for _, records := range []int{1, 16} {
		for name, key := range map[string][]byte{"keyed": make([]byte, 32), "keyless": nil} {
			b.Run(fmt.Sprintf("%s/records=%d", name, records), func(b *testing.B) {
				tag, lines := audit.TagOf(key), bytes.Repeat([]byte("x"), records*1050)
				b.ReportAllocs()
				before := cpuTime()
				for i := 0; i < b.N; i += records {
					tag(lines)
				}
				b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
