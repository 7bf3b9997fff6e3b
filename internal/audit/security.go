package audit

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
)

// Defaults of [SecurityOptions].
const (
	DefaultSecurityFileSize  = 8 << 20
	DefaultSecurityFiles     = 8
	DefaultSecurityRate      = 200
	DefaultSecurityPerSource = 10
)

const (
	// burst is for how many seconds of its rate a source, and all sources
	// together, may save up.
	burst = 10
	// maxPending is how many bytes of lines may wait for the disk.
	maxPending = 256 << 10
	// sourceSlots is how many sources are told apart; those that fall together
	// share a rate.
	sourceSlots = 4096

	securityPrefix, securitySuffix = "security-", ".jsonl"

	maxAgent = 256 // bytes of a user agent in the security log
)

// SecurityOptions are the settings of a [SecurityLog]. The zero value is good.
type SecurityOptions struct {
	FileSize  int64 // in bytes, at which a new file is begun; 0 means DefaultSecurityFileSize
	Files     int   // how many are kept; 0 means DefaultSecurityFiles
	Rate      int   // lines a second, of all sources; 0 means DefaultSecurityRate
	PerSource int   // lines a second of one source; 0 means DefaultSecurityPerSource

	// Logger gets what happens to the log itself; nil means nothing does.
	Logger *slog.Logger
}

// A SecurityLog keeps what CloudTrail has no record of, and an operator wants to
// know all the same: requests that failed authentication, and calls that nothing
// but the policy of a VPC endpoint denied. Strangers can cause as many of the
// former as they like, so it is bounded in size and rate, never holds up a call
// and never makes one fail. It has no part in the trail of evidence.
//
// Its directory has files of one JSON object a line, the newest in the one with
// the highest number. The oldest files are removed.
//
//	security-000001.jsonl
//	security-000002.jsonl
//
//	{"time":"2026-11-21T20:50:00Z","event":"AuthenticationFailed","code":"InvalidSignatureException",
//	 "sourceIPAddress":"192.0.2.7","userAgent":"…","service":"kms","awsRegion":"eu-central-1","operation":"Decrypt",
//	 "accessKeyId":"AKIA…","requestID":"…",
//	 "notRecorded":17}                      how many there were since the line before that it has not
//
//	{"time":"…","event":"EndpointPolicyDenied","code":"AccessDeniedException",…,"principal":"arn:…","vpcEndpointId":"vpce-…"}
//
// A nil SecurityLog keeps nothing.
type SecurityLog struct {
	dir    string
	o      SecurityOptions
	logger *slog.Logger

	dropped atomic.Uint64
	seed    maphash.Seed
	wake    chan struct{} // something is pending; holds one
	stop    chan struct{} // closed to end the writer
	done    sync.WaitGroup

	mu      sync.Mutex // guards what follows; held for moments
	closed  bool
	pending []byte // lines that wait for the disk
	missing uint64 // events since the newest line that it has not
	all     allowance
	sources []allowance // by the hash of the source

	// The rest belongs to the writer.
	spare  []byte
	file   *os.File // nil before the first line, and after a failure
	size   int64
	number int
	failed bool // the last write did; logged once
}

// An allowance is how many lines may be written, which grows with time.
type allowance struct {
	left float64
	at   int64 // Unix time in nanoseconds
}

// take takes one line from what rate a second has saved up. A clock that goes
// back saves nothing.
func (a *allowance) take(now int64, rate int) bool {
	most := float64(rate * burst)
	if grown := now - a.at; a.at == 0 {
		a.left = most
	} else if grown > 0 {
		a.left = min(most, a.left+float64(grown)*float64(rate)/float64(time.Second))
	}
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// OpenSecurityLog opens the log in directory dir, which it creates if need be.
// Close it.
func OpenSecurityLog(dir string, o SecurityOptions) (*SecurityLog, error) {
	l := &SecurityLog{
		dir: dir, o: o, logger: o.Logger,
		seed: maphash.MakeSeed(), wake: make(chan struct{}, 1), stop: make(chan struct{}),
		sources: make([]allowance, sourceSlots),
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&l.o.FileSize, DefaultSecurityFileSize)
	setDefault(&l.o.Files, DefaultSecurityFiles)
	setDefault(&l.o.Rate, DefaultSecurityRate)
	setDefault(&l.o.PerSource, DefaultSecurityPerSource)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the directory of the security log: %w", err)
	}
	if err := l.resume(); err != nil {
		return nil, fmt.Errorf("opening the security log: %w", err)
	}
	l.done.Go(l.write)
	return l, nil
}

func setDefault[N int | int64](n *N, value N) {
	if *n <= 0 {
		*n = value
	}
}

// Note appends a line about c, whose Failure says how it ended: a request whose
// caller is not known, or else a call that is not on record. accessKeyID is the
// one that it claims; empty if it claims none that looks like one.
//
// Nothing that c has unchecked is longer in the line than it may be. Note never
// waits for the disk, and may keep nothing of c.
func (l *SecurityLog) Note(c *call.Call, accessKeyID string) {
	if l == nil {
		return
	}
	now := c.Time.UnixNano()
	slot := l.slot(c.Source.Addr())
	l.mu.Lock()
	defer l.mu.Unlock()
	// Who has nothing left for himself takes nothing from the others.
	if l.closed || len(l.pending) >= maxPending || !l.sources[slot].take(now, l.o.PerSource) || !l.all.take(now, l.o.Rate) {
		l.missing++
		l.dropped.Add(1)
		return
	}
	l.pending = appendSecurity(l.pending, c, accessKeyID, l.missing)
	l.missing = 0
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// slot returns where the allowance of a source is. Whoever has an address of
// IPv6 has 2^64 of them.
func (l *SecurityLog) slot(source netip.Addr) int {
	a := source.Unmap().As16()
	n := len(a)
	if source.Unmap().Is6() {
		n = 8
	}
	return int(maphash.Bytes(l.seed, a[:n]) % sourceSlots)
}

// appendSecurity appends one line; see [SecurityLog].
func appendSecurity(b []byte, c *call.Call, accessKeyID string, missing uint64) []byte {
	b = append(b, `{"time":"`...)
	b = c.Time.UTC().AppendFormat(b, time.RFC3339)
	if c.Caller == nil {
		b = append(b, `","event":"AuthenticationFailed"`...)
	} else {
		b = append(b, `","event":"EndpointPolicyDenied"`...)
	}
	b = appendMember(b, `,"code":`, c.Failure.Code, maxName)
	b = append(b, `,"sourceIPAddress":"`...)
	if a := c.Source.Addr(); a.IsValid() {
		b = a.Unmap().WithZone("").AppendTo(b)
	}
	b = append(b, '"')
	b = appendMember(b, `,"userAgent":`, c.UserAgent, maxAgent)
	b = appendKnown(b, `,"service":"`, c.Service)
	b = appendKnown(b, `,"awsRegion":"`, c.Region)
	b = appendKnown(b, `,"operation":"`, c.Target)
	b = appendKnown(b, `,"accessKeyId":"`, accessKeyID)
	if c.Caller != nil {
		b = appendMember(b, `,"principal":`, c.Caller.ARN, maxARN)
	}
	if e := c.Endpoint; e != nil {
		b = appendMember(b, `,"vpcEndpointId":`, e.ID, maxName)
	}
	b = appendMember(b, `,"requestID":`, c.ID, maxName)
	if missing > 0 {
		b = append(b, `,"notRecorded":`...)
		b = strconv.AppendUint(b, missing, 10)
	}
	return append(b, '}', '\n')
}

// appendKnown appends a member of letters and digits, unless nothing is known of
// it.
func appendKnown(b []byte, name, word string) []byte {
	if word == "" {
		return b
	}
	return append(appendWord(append(b, name...), word), '"')
}

// Dropped returns how many events are in no line, for their number or since they
// could not be written.
func (l *SecurityLog) Dropped() uint64 {
	if l == nil {
		return 0
	}
	return l.dropped.Load()
}

// Close writes what is pending and closes the log. What is noted from then on is
// dropped.
func (l *SecurityLog) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	close(l.stop)
	l.done.Wait()
	l.drain()
	if l.file == nil {
		return nil
	}
	if err := errors.Join(l.file.Sync(), l.file.Close()); err != nil {
		return fmt.Errorf("closing the security log: %w", err)
	}
	return nil
}

// write is the writer.
func (l *SecurityLog) write() {
	for {
		select {
		case <-l.stop:
			return
		case <-l.wake:
		}
		l.drain()
	}
}

// drain writes what is pending. What cannot be written is dropped: nothing
// depends on it, and the disk may be full.
func (l *SecurityLog) drain() {
	l.mu.Lock()
	lines := l.pending
	l.pending = l.spare[:0]
	l.mu.Unlock()
	l.spare = lines
	if len(lines) == 0 {
		return
	}
	err := l.put(lines)
	if err == nil {
		if l.failed {
			l.logger.Info("the security log works again")
		}
		l.failed = false
		return
	}
	lost := uint64(strings.Count(string(lines), "\n"))
	l.mu.Lock()
	l.missing += lost
	l.dropped.Add(lost)
	l.mu.Unlock()
	if !l.failed {
		l.logger.Warn("the security log cannot be written", "error", err)
	}
	l.failed = true
}

func (l *SecurityLog) put(lines []byte) error {
	if l.file == nil || l.size > 0 && l.size+int64(len(lines)) > l.o.FileSize {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
	if err != nil {
		// The file may end within a line: no more goes there.
		_ = l.file.Close()
		l.file = nil
	}
	return err
}

// rotate begins a new file, and removes the oldest.
func (l *SecurityLog) rotate() error {
	if l.file != nil {
		err := l.file.Close()
		l.file = nil
		if err != nil {
			return err
		}
	}
	// First, so that there is room on a disk that is full.
	l.prune(l.o.Files - 1)
	f, err := os.OpenFile(l.path(l.number+1), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	l.number++
	l.file, l.size = f, 0
	return nil
}

// resume goes on with the newest file, or lets the next line begin a new one if
// that ends within a line.
func (l *SecurityLog) resume() error {
	numbers, err := l.numbers()
	if err != nil || len(numbers) == 0 {
		return err
	}
	l.number = numbers[len(numbers)-1]
	f, err := os.OpenFile(l.path(l.number), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	last := []byte{'\n'}
	if size := info.Size(); size > 0 {
		if _, err := f.ReadAt(last, size-1); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if last[0] != '\n' {
		return f.Close()
	}
	l.file, l.size = f, info.Size()
	return nil
}

func (l *SecurityLog) path(number int) string {
	return filepath.Join(l.dir, fmt.Sprintf("%s%06d%s", securityPrefix, number, securitySuffix))
}

// numbers returns those of the files that are there, the newest last.
func (l *SecurityLog) numbers() (numbers []int, err error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		digits := strings.TrimSuffix(strings.TrimPrefix(e.Name(), securityPrefix), securitySuffix)
		if n, err := strconv.Atoi(digits); err == nil && n > 0 && l.path(n) == filepath.Join(l.dir, e.Name()) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// prune removes all but the newest files.
func (l *SecurityLog) prune(keep int) {
	numbers, err := l.numbers()
	if err != nil {
		l.logger.Warn("the files of the security log cannot be listed", "error", err)
		return
	}
	for len(numbers) > keep {
		if err := os.Remove(l.path(numbers[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.logger.Warn("a file of the security log cannot be removed", "error", err)
			return
		}
		numbers = numbers[1:]
	}
}

// unrecorded reports whether CloudTrail has no record of a call: one that was
// denied by the policy of its VPC endpoint and by nothing else. Source: "Logging
// AWS KMS requests that use a VPC endpoint" in the KMS Developer Guide.
func unrecorded(c *call.Call) bool {
	return c.Denial != nil && c.Denial.OnlyEndpoint && isDenial(c.Failure.Code) && c.Caller != nil
}
