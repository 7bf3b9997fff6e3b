package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
)

// stranger is a request that failed authentication.
func stranger(source string, at time.Time) *call.Call {
	return &call.Call{
		ID: "5ba8ba61-a85c-4dd4-8d1f-8b5e5a6a7f10", Time: at, Region: "eu-central-1", Service: "kms", Target: "Decrypt",
		Source: netip.AddrPortFrom(netip.MustParseAddr(source), 40000), UserAgent: "aws-cli/2.9.19",
		Failure: call.Failure{Code: "InvalidSignatureException", Message: "what the client sent is in here"},
	}
}

func openSecurity(t testing.TB, dir string, o audit.SecurityOptions) *audit.SecurityLog {
	t.Helper()
	l, err := audit.OpenSecurityLog(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// securityFiles returns the files of a security log, the oldest first.
func securityFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// securityLines returns its lines, the oldest first.
func securityLines(t testing.TB, dir string) (lines []string) {
	t.Helper()
	for _, name := range securityFiles(t, dir) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

func TestSecurityLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "security")
	l := openSecurity(t, dir, audit.SecurityOptions{})
	l.Note(stranger("192.0.2.7", noon), "AKIAIOSFODNN7EXAMPLE")

	odd := stranger("2001:db8::1", noon)
	odd.UserAgent, odd.Target, odd.Region = strings.Repeat("\"\n", 1000), "De\"crypt\n", "x\x00y"
	l.Note(odd, "")

	denied := newCall()
	denied.Endpoint = &call.Endpoint{ID: "vpce-1"}
	denied.Target = "Decrypt"
	denied.Failure = call.Failure{Code: "AccessDeniedException", Message: "because"}
	l.Note(denied, "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Note(stranger("192.0.2.7", noon), "")
	if l.Dropped() != 1 {
		t.Errorf("Dropped = %d, want 1", l.Dropped())
	}

	const tail = `"requestID":"5ba8ba61-a85c-4dd4-8d1f-8b5e5a6a7f10"}`
	want := []string{
		`{"time":"2026-11-21T20:50:07Z","event":"AuthenticationFailed","code":"InvalidSignatureException","sourceIPAddress":"192.0.2.7",` +
			`"userAgent":"aws-cli/2.9.19","service":"kms","awsRegion":"eu-central-1","operation":"Decrypt","accessKeyId":"AKIAIOSFODNN7EXAMPLE",` + tail,
		`{"time":"2026-11-21T20:50:07Z","event":"AuthenticationFailed","code":"InvalidSignatureException","sourceIPAddress":"2001:db8::1",` +
			`"userAgent":"` + strings.Repeat(`\"\n`, 128) + `","service":"kms","awsRegion":"xy","operation":"Decrypt",` + tail,
		`{"time":"2026-11-21T20:50:07Z","event":"EndpointPolicyDenied","code":"AccessDeniedException","sourceIPAddress":"192.0.2.7",` +
			`"userAgent":"aws-cli/2.9.19 Python/3.11.2","service":"kms","awsRegion":"eu-central-1","operation":"Decrypt",` +
			`"principal":"arn:aws:iam::111122223333:user/alice","vpcEndpointId":"vpce-1",` + tail,
	}
	if got := securityLines(t, dir); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, name := range securityFiles(t, dir) {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// One source cannot fill the log, nor can very many, nor keep others out.
func TestSecurityLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := openSecurity(t, dir, audit.SecurityOptions{Rate: 4, PerSource: 1, FileSize: 2048, Files: 3})
	const perSource, all = 10, 40 // at once: ten seconds of the rate
	for range 1000 {
		l.Note(stranger("192.0.2.7", noon), "")
	}
	l.Note(stranger("2001:db8::1", noon), "") // whoever else there is
	for i := range 1000 {
		l.Note(stranger(fmt.Sprintf("2001:db8:0:0:%x::1", i+2), noon), "") // one /64, the same as his
	}
	for i := range 1000 {
		l.Note(stranger(fmt.Sprintf("10.0.%d.%d", i/256, i%256), noon), "")
	}
	if got, want := l.Dropped(), uint64(3001-all); got != want {
		t.Errorf("Dropped = %d, want %d", got, want)
	}
	l.Note(stranger("192.0.2.7", noon.Add(3*time.Second)), "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if files := securityFiles(t, dir); len(files) > 3 {
		t.Errorf("files %v", files)
	}
	l = openSecurity(t, dir, audit.SecurityOptions{})
	if err := l.Close(); err != nil {
		t.Error(err)
	}

	dir = t.TempDir()
	l = openSecurity(t, dir, audit.SecurityOptions{Rate: 100, PerSource: 1})
	for range perSource + 5 {
		l.Note(stranger("192.0.2.7", noon), "")
	}
	l.Note(stranger("192.0.2.7", noon.Add(-time.Hour)), "") // a clock that goes back gives nothing
	l.Note(stranger("198.51.100.1", noon), "")
	l.Note(stranger("192.0.2.7", noon.Add(time.Second)), "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := securityLines(t, dir)
	if len(lines) != perSource+2 {
		t.Fatalf("%d lines, want %d", len(lines), perSource+2)
	}
	var line struct{ NotRecorded int }
	if err := json.Unmarshal([]byte(lines[perSource]), &line); err != nil || line.NotRecorded != 6 {
		t.Errorf("%s, %v: want 6 not recorded", lines[perSource], err)
	}
}

// The newest files stay, and a restart goes on in the newest, unless that ends
// within a line.
func TestSecurityLogFiles(t *testing.T) {
	dir := t.TempDir()
	one := len(`{"time":"2026-11-21T20:50:07Z"`) // less than any line, so that each has a file
	for i := range 5 {
		l := openSecurity(t, dir, audit.SecurityOptions{FileSize: int64(one), Files: 3})
		c := stranger("192.0.2.7", noon)
		c.ID = fmt.Sprint("request", i)
		l.Note(c, "")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (names []string) {
		for _, name := range securityFiles(t, dir) {
			names = append(names, filepath.Base(name))
		}
		return names
	}
	if got, want := names(), []string{"security-000003.jsonl", "security-000004.jsonl", "security-000005.jsonl"}; !slices.Equal(got, want) {
		t.Fatalf("files %v, want %v", got, want)
	}
	l := openSecurity(t, dir, audit.SecurityOptions{})
	l.Note(stranger("192.0.2.7", noon), "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if len(names()) != 3 || len(securityLines(t, dir)) != 4 {
		t.Errorf("%d files, %d lines", len(names()), len(securityLines(t, dir)))
	}
	// A crash in the middle of a line.
	f, err := os.OpenFile(filepath.Join(dir, "security-000005.jsonl"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l = openSecurity(t, dir, audit.SecurityOptions{})
	l.Note(stranger("192.0.2.7", noon), "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := securityLines(t, dir)
	if got := names(); got[len(got)-1] != "security-000006.jsonl" || !json.Valid([]byte(lines[len(lines)-1])) {
		t.Errorf("files %v, last line %s", got, lines[len(lines)-1])
	}
}

// A disk that fails holds up nothing, and what was lost is counted.
func TestSecurityLogFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "security")
	l := openSecurity(t, dir, audit.SecurityOptions{})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	l.Note(stranger("192.0.2.7", noon), "")
	for l.Dropped() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Note(stranger("192.0.2.7", noon), "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := securityLines(t, dir)
	if len(lines) != 1 || !strings.Contains(lines[0], `"notRecorded":1}`) {
		t.Errorf("lines %v", lines)
	}
	if _, err := audit.OpenSecurityLog(filepath.Join(dir, "security-000001.jsonl"), audit.SecurityOptions{}); err == nil {
		t.Error("a log in a file is open")
	}
	var none *audit.SecurityLog
	none.Note(stranger("192.0.2.7", noon), "")
	if none.Dropped() != 0 || none.Close() != nil {
		t.Error("no log fails")
	}
}

func TestSecurityLogByMany(t *testing.T) {
	dir := t.TempDir()
	l := openSecurity(t, dir, audit.SecurityOptions{Rate: 1 << 20, PerSource: 1 << 20})
	const workers, each = 8, 100
	concurrently(workers, func(int) {
		for range each {
			l.Note(stranger("192.0.2.7", noon), "")
		}
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := securityLines(t, dir)
	if got := uint64(len(lines)) + l.Dropped(); got != workers*each {
		t.Errorf("%d lines and %d dropped, want %d together", len(lines), l.Dropped(), workers*each)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not JSON: %s", line)
		}
	}
}

// What nothing but the policy of a VPC endpoint denied is in the security log
// alone. Whatever else is wrong with a call is on record.
func TestDeniedByEndpoint(t *testing.T) {
	dir := t.TempDir()
	security := openSecurity(t, filepath.Join(dir, "security"), audit.SecurityOptions{})
	l := openLog(t, dir, audit.Options{Security: security}, nil)
	for code, denial := range map[string]call.Denial{
		"AccessDeniedException":    {OnlyEndpoint: true},
		"AccessDenied":             {OnlyEndpoint: false},
		"KMSInvalidStateException": {OnlyEndpoint: true},
	} {
		c := newCall()
		c.Endpoint, c.Denial, c.Failure = &call.Endpoint{ID: "vpce-1"}, &denial, call.Failure{Code: code}
		if err := l.Append(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := security.Close(); err != nil {
		t.Fatal(err)
	}
	lines := securityLines(t, filepath.Join(dir, "security"))
	if len(lines) != 1 || !strings.Contains(lines[0], `"event":"EndpointPolicyDenied"`) || !strings.Contains(lines[0], `"accessKeyId":"AKIAIOSFODNN7EXAMPLE"`) {
		t.Errorf("security log %v", lines)
	}
	var codes []string
	for line, err := range l.Records() {
		var record struct{ ErrorCode string }
		if err := errors.Join(err, json.Unmarshal(line, &record)); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, record.ErrorCode)
	}
	slices.Sort(codes)
	if want := []string{"AccessDenied", "KMSInvalidStateException"}; !slices.Equal(codes, want) {
		t.Errorf("on record: %v, want %v", codes, want)
	}
}
