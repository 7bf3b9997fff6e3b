package trail

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/record"
)

// How much is looked at, and copied, before it is noted.
const (
	scanSize   = 256 // files of the archive that are listed at once
	batchFiles = 16  // files that are copied
)

// Bounds of a file of the archive, in bytes, compressed and not. What the
// archive writes is much smaller.
const (
	maxFile = 64 << 20
	maxText = 256 << 20
)

// errAltered is a file of the archive that is not what was delivered.
var errAltered = errors.New("trail: the file is not the one that was delivered")

// errGone is a trail that is not there any more.
var errGone = errors.New("trail: deleted")

// wanted is a file that has something for a trail.
type wanted struct {
	index.File
	scope archive.Scope
	whole bool // all of it
	time  time.Time
	id    string // as in the name of the file
}

// scope returns under which names the events of an account stand in the trail's
// bucket, and whether the trail is the account's at all.
func (s *Set) scope(ctx context.Context, t *Trail, account, region string) (archive.Scope, bool, error) {
	scope := archive.Scope{Prefix: t.Prefix, Account: account, Region: region}
	if !t.Organization {
		return scope, account == t.Account, nil
	}
	o, err := s.o.Organization(ctx, account)
	if err != nil {
		return scope, false, fmt.Errorf("asking for the organization of %s: %w", account, err)
	}
	if o == nil {
		return scope, account == t.Account, nil
	}
	scope.Organization = o.ID
	return scope, o.Master == t.Account, nil
}

// scan looks for files after a place that have something for the trail. It
// returns the place that it has come to, and whether there may be more.
func (s *Set) scan(ctx context.Context, t *Trail, after uint64) (found []wanted, at uint64, more bool, lost int64, err error) {
	files, err := s.source.Files(after, scanSize)
	if err != nil {
		return nil, after, false, 0, fmt.Errorf("listing the files of the archive: %w", err)
	}
	at = after
	for _, f := range files {
		if f.Number > at+1 {
			lost += int64(f.Number - at - 1)
		}
		w, ok, err := s.want(ctx, t, f)
		if err != nil {
			return nil, after, false, 0, err
		}
		at = f.Number
		if ok {
			if found = append(found, w); len(found) == batchFiles {
				return found, at, true, lost, nil
			}
		}
	}
	return found, at, len(files) == scanSize, lost, nil
}

// want reports whether a trail wants something of a file.
func (s *Set) want(ctx context.Context, t *Trail, f index.File) (wanted, bool, error) {
	if f.Events == 0 || !t.covers(f.Region) || t.wantsNone() {
		return wanted{}, false, nil
	}
	all, some := t.throughout(f.Oldest, f.Newest)
	if !some {
		return wanted{}, false, nil
	}
	scope, ok, err := s.scope(ctx, t, f.Account, f.Region)
	if err != nil || !ok {
		return wanted{}, false, err
	}
	w := wanted{File: f, scope: scope, whole: all && t.wantsAll(f.Region)}
	w.time, w.id = nameOf(f)
	return w, true, nil
}

// nameOf returns the minute and the id in the name of a file, which is
// <account>_CloudTrail_<region>_<minute>_<id>.json.gz; or what stands for them.
func nameOf(f index.File) (time.Time, string) {
	base := strings.TrimSuffix(f.Path[strings.LastIndexByte(f.Path, '/')+1:], ".json.gz")
	if i := strings.LastIndexByte(base, '_'); i > 0 {
		stamp := base[strings.LastIndexByte(base[:i], '_')+1 : i]
		if at, err := time.Parse("20060102T1504Z", stamp); err == nil {
			return at, base[i+1:]
		}
	}
	return f.Newest, base
}

// objectID returns the last part of the name of what is copied of a file: the
// same each time, and another one for each trail, since two that copy into the
// same bucket may want different events. It is what CloudTrail has there: 16
// letters and digits.
func objectID(t *Trail, w *wanted) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	sum := sha256.Sum256([]byte(t.ID + "\n" + w.Path))
	id := make([]byte, 16)
	for i := range id {
		// Two bytes for each: a little of a bias is no matter.
		id[i] = alphabet[(int(sum[2*i])<<8|int(sum[2*i+1]))%len(alphabet)]
	}
	return string(id)
}

// fetch reads a file of the archive, compressed, and compares it with what was
// delivered: errAltered. Otherwise a trail's digest would vouch for it.
func (s *Set) fetch(f *index.File) ([]byte, error) {
	in, err := os.Open(s.source.Path(f.Path))
	if err != nil {
		return nil, fmt.Errorf("opening a file of the archive: %w", err)
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading a file of the archive: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%w: %s is too large", errAltered, f.Path)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errAltered, f.Path, err)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(z, maxText+1))
	if err != nil || n > maxText {
		return nil, fmt.Errorf("%w: %s: %w", errAltered, f.Path, err)
	}
	if !bytes.Equal(hash.Sum(nil), f.Hash[:]) {
		return nil, fmt.Errorf("%w: %s", errAltered, f.Path)
	}
	return raw, nil
}

// events calls use with each record of a file that the trail wants. The record
// is valid until use returns.
func (t *Trail) events(raw []byte, w *wanted, use func(record []byte, e *event) error) error {
	for line, err := range archive.Records(bytes.NewReader(raw)) {
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errAltered, w.Path, err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%w: %s: a record that can't be read: %w", errAltered, w.Path, err)
		}
		if !w.whole && (!t.during(e.Time) || !t.wants(&e)) {
			continue
		}
		if err := use(line, &e); err != nil {
			return err
		}
	}
	return nil
}

// made is an object for a bucket, made of a file.
type made struct {
	object
	file   archive.LogFile
	events int
}

// make makes the object of a file; nil if the trail wants nothing of it.
func (s *Set) make(t *Trail, w *wanted) (*made, error) {
	raw, err := s.fetch(&w.File)
	if err != nil {
		return nil, err
	}
	name := w.scope.LogObject(w.time, objectID(t, w))
	m := &made{object: object{name: name}, file: archive.LogFile{Bucket: t.Bucket, Object: name}}
	if w.whole {
		m.body, m.events = raw, w.Events
		m.file.Hash, m.file.Oldest, m.file.Newest = hex.EncodeToString(w.Hash[:]), w.Oldest, w.Newest
		return m, nil
	}
	var out bytes.Buffer
	lw := archive.NewLogWriter(&out)
	err = t.events(raw, w, func(line []byte, e *event) error {
		if m.events == 0 || e.Time.Before(m.file.Oldest) {
			m.file.Oldest = e.Time
		}
		if m.events == 0 || e.Time.After(m.file.Newest) {
			m.file.Newest = e.Time
		}
		m.events++
		_, err := lw.Add(line)
		return err
	})
	if err != nil || m.events == 0 {
		return nil, err
	}
	_, hash, err := lw.Close()
	if err != nil {
		return nil, err
	}
	m.body, m.file.Hash = out.Bytes(), hex.EncodeToString(hash[:])
	return m, nil
}

// lend takes a place among those who read a file, and returns what gives it back.
// What is read is kept longer, until the sink has it: who waits for a sink must not
// hold up the others. Of those there are as many as each sink has slots.
func (s *Set) lend(ctx context.Context) (func(), error) {
	select {
	case s.memory <- struct{}{}:
		return func() { <-s.memory }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// copyFiles copies what there is for the trail's bucket, up to a batch, and
// reports whether there may be more.
func (s *Set) copyFiles(ctx context.Context, w *worker, t *Trail) (more bool, err error) {
	if err := s.CheckBucket(t.Account, t.Bucket); err != nil {
		return false, err
	}
	b := s.buckets[t.Bucket]
	p, _, err := s.progress(ctx, t.ID, bucketSink)
	if err != nil {
		return false, err
	}
	files, at, more, lost, err := s.scan(ctx, t, p.Cursor)
	if err != nil {
		return false, err
	}
	s.waits(w, files)
	if at == p.Cursor {
		return false, nil
	}
	if !t.Logging() && len(files) == 0 {
		lost = 0 // nobody wanted it
	}
	done := make(map[pair][]pending)
	events, objects := 0, 0
	for i := range files {
		m, err := s.copyFile(ctx, b, t, &files[i])
		switch {
		case errors.Is(err, errAltered):
			s.log.Error("a file of the audit archive was altered, and is not copied", "trail", t.ARN(), "file", files[i].Path, "error", err)
			lost++
			continue
		case err != nil:
			// What was copied until here is noted, so that it is not copied again.
			if i > 0 {
				return false, errors.Join(err, s.noteFiles(ctx, t, files[i].Number-1, done, objects, lost))
			}
			return false, err
		case m == nil:
			continue
		}
		events += m.events
		objects++
		s.count(bucketSink, func(k *Sink) { k.Delivered += uint64(m.events); k.Objects++ })
		of := pair{files[i].Account, files[i].Region}
		done[of] = append(done[of], pending{LogFile: m.file, Delivered: s.now().UTC()})
	}
	if err := s.noteFiles(ctx, t, at, done, objects, lost); err != nil {
		return false, err
	}
	s.log.Debug("copied to a bucket", "trail", t.ARN(), "objects", objects, "events", events)
	if !more {
		s.waits(w, nil)
	}
	return more, nil
}

// copyFile puts what the trail wants of a file into the bucket; nil if that is
// nothing.
func (s *Set) copyFile(ctx context.Context, b *bucket, t *Trail, w *wanted) (*made, error) {
	free, err := b.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	back, err := s.lend(ctx)
	if err != nil {
		return nil, err
	}
	m, err := s.make(t, w)
	back()
	if err != nil || m == nil {
		return nil, err
	}
	return m, b.put(ctx, m.object)
}

// noteFiles notes that the bucket has everything up to a place, and what the
// next digests have to list.
func (s *Set) noteFiles(ctx context.Context, t *Trail, at uint64, done map[pair][]pending, objects int, lost int64) error {
	now := s.now().UTC()
	err := s.change(ctx, func(tx *record.Tx) error {
		err := s.changeProgress(ctx, tx, t.ID, bucketSink, func(p *progress) {
			p.Cursor, p.Files.Lost = at, p.Files.Lost+lost
			if objects > 0 {
				p.Files.Attempted, p.Files.Delivered = now, now
			}
			p.Files.Failure = ""
		})
		if err != nil {
			return err
		}
		if !t.Validation {
			return nil
		}
		for of, files := range done {
			if err := s.addPending(ctx, tx, t.ID, of, files); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.missed(t, bucketSink, lost)
	return nil
}

// missed counts files of the archive that a trail has missed.
func (s *Set) missed(t *Trail, sink string, files int64) {
	if files == 0 {
		return
	}
	s.count(sink, func(k *Sink) { k.Lost += uint64(files) })
	s.log.Error("files of the audit archive were removed, or altered, before a trail could copy them", "trail", t.ARN(), "to", sink, "files", files)
}

// copyEvents sends what there is for the trail's log group, up to a batch, and
// reports whether there may be more.
func (s *Set) copyEvents(ctx context.Context, w *worker, t *Trail) (more bool, err error) {
	if err := s.CheckLogGroup(t.Account, t.LogGroup); err != nil {
		return false, err
	}
	_, name, _ := LogGroupName(t.LogGroup)
	g := s.groups[name]
	p, _, err := s.progress(ctx, t.ID, groupSink)
	if err != nil {
		return false, err
	}
	files, at, more, lost, err := s.scan(ctx, t, p.Cursor)
	if err != nil {
		return false, err
	}
	s.waits(w, files)
	if at == p.Cursor && len(p.Anchors) == 0 {
		return false, nil
	}
	if !t.Logging() && len(files) == 0 {
		lost = 0
	}
	sent := 0
	if len(files) > 0 || len(p.Anchors) > 0 {
		out, err := g.open(ctx)
		if err != nil {
			return false, err
		}
		if err := s.send(ctx, out, t, files, p.Anchors, &sent, &lost); err != nil {
			out.abandon()
			return false, err
		}
		if err := out.close(ctx); err != nil {
			return false, err
		}
	}
	now := s.now().UTC()
	err = s.change(ctx, func(tx *record.Tx) error {
		return s.changeProgress(ctx, tx, t.ID, groupSink, func(q *progress) {
			// There may be more anchors by now, and it may be another log group.
			q.Cursor, q.Files.Lost, q.Files.Failure = max(q.Cursor, at), q.Files.Lost+lost, ""
			q.Anchors = without(q.Anchors, p.Anchors)
			if sent > 0 {
				q.Files.Attempted, q.Files.Delivered = now, now
			}
		})
	})
	if err != nil {
		return false, err
	}
	s.count(groupSink, func(k *Sink) { k.Delivered += uint64(sent) })
	s.missed(t, groupSink, lost)
	if !more {
		s.waits(w, nil)
	}
	return more, nil
}

// without returns the anchors of a list that are not among others.
func without(list, others []anchor) []anchor {
	gone := make(map[string]bool, len(others))
	for _, a := range others {
		gone[a.Object] = true
	}
	var left []anchor
	for _, a := range list {
		if !gone[a.Object] {
			left = append(left, a)
		}
	}
	return left
}

// send sends events, and then anchors.
func (s *Set) send(ctx context.Context, out *batch, t *Trail, files []wanted, anchors []anchor, sent *int, lost *int64) error {
	for i := range files {
		f := &files[i]
		back, err := s.lend(ctx)
		if err != nil {
			return err
		}
		raw, err := s.fetch(&f.File)
		back()
		if err == nil {
			err = t.events(raw, f, func(line []byte, e *event) error {
				*sent++
				return out.send(ctx, priorityEvent, e.Time, messageEvent, line)
			})
		}
		if errors.Is(err, errAltered) {
			s.log.Error("a file of the audit archive was altered, and is not sent", "trail", t.ARN(), "file", f.Path, "error", err)
			*lost++
			continue
		}
		if err != nil {
			return err
		}
	}
	for i := range anchors {
		text, err := json.Marshal(&anchors[i])
		if err != nil {
			return fmt.Errorf("encoding a digest for a log group: %w", err)
		}
		if err := out.send(ctx, priorityDigest, anchors[i].End, messageDigest, text); err != nil {
			return err
		}
	}
	return nil
}
