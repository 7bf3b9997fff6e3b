package operator

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// Archive is the files of the audit trail. Package archive's Archive is one.
type Archive interface {
	// Heads returns the newest digests, by account and Region.
	Heads() []archive.Head
	// Pending returns the log files that no digest lists yet.
	Pending() []archive.LogFile
	// PublicKeys returns the keys of a Region, or of all, in a time.
	PublicKeys(region string, start, end time.Time) []archive.PublicKey
	// Damage returns what was found altered, a line each.
	Damage() []string
}

// Bounds of a page of DescribeAudit: each head and each file is less than 2 KiB.
const (
	auditPage = 2000
	// verifyTime is how long the journal may be read: what is left then is told
	// to be unverified.
	verifyTime = 20 * time.Second
)

// Where the pages of DescribeAudit go on: after a head, or after a file.
const (
	afterHead = "head:"
	afterFile = "file:"
)

// DescribeAudit tells what the node knows of its audit trail.
func (s *Service) DescribeAudit(ctx context.Context, c *call.Call, in *keyreeveapi.DescribeAuditInput, out *keyreeveapi.DescribeAuditOutput) error {
	if err := s.allow(ctx, c); err != nil {
		return err
	}
	head, inHeads := strings.CutPrefix(in.NextToken, afterHead)
	file, inFiles := strings.CutPrefix(in.NextToken, afterFile)
	if !inHeads {
		head = ""
	}
	if !inFiles {
		file = ""
	}
	switch {
	case in.NextToken != "" && !inHeads && !inFiles:
		return wire.Validation("The token is not valid.")
	case in.NextToken == "":
		if err := s.describeJournal(ctx, in.VerifyJournal, out); err != nil {
			return answer(err)
		}
	}
	if s.o.Archive == nil {
		return nil
	}
	if in.NextToken == "" {
		out.Directory = s.o.ArchiveDir
		if abs, err := filepath.Abs(out.Directory); err == nil {
			out.Directory = abs
		}
		out.Damage = append(out.Damage, s.o.Archive.Damage()...)
		for _, k := range s.o.Archive.PublicKeys("", time.Time{}, time.Time{}) {
			out.Keys = append(out.Keys, keyreeveapi.AuditKey{
				Region: k.Region, Fingerprint: k.Fingerprint, Value: k.Value, Start: keyreeveapi.Time{Time: k.Start}, End: keyreeveapi.Time{Time: k.End},
			})
		}
	}
	if !inFiles {
		for _, h := range s.o.Archive.Heads() {
			if h.Account+"/"+h.Region <= head {
				continue
			}
			if len(out.Heads) == auditPage {
				last := out.Heads[auditPage-1]
				out.NextToken = afterHead + last.Account + "/" + last.Region
				return nil
			}
			out.Heads = append(out.Heads, keyreeveapi.AuditHead{
				Account: h.Account, Region: h.Region, Bucket: h.Newest.Bucket, Object: h.Newest.Object, Hash: h.Newest.Hash, Signature: h.Newest.Signature,
				End: keyreeveapi.Time{Time: h.End}, Oldest: keyreeveapi.Time{Time: h.Oldest}, Count: h.Count,
			})
		}
	}
	// What is delivered between two pages is left out or not, as it comes.
	files := s.o.Archive.Pending()
	slices.SortFunc(files, func(a, b archive.LogFile) int { return strings.Compare(a.Object, b.Object) })
	for _, f := range files {
		if f.Object <= file {
			continue
		}
		if len(out.Pending) == auditPage {
			out.NextToken = afterFile + out.Pending[auditPage-1].Object
			return nil
		}
		out.Pending = append(out.Pending, keyreeveapi.AuditFile{Bucket: f.Bucket, Object: f.Object, Hash: f.Hash})
	}
	return nil
}

// describeJournal tells of the journal, and reads it if that is asked.
func (s *Service) describeJournal(ctx context.Context, verify bool, out *keyreeveapi.DescribeAuditOutput) error {
	j := s.o.Journal
	out.Unsettled = j.Unsettled()
	for _, p := range j.Damage() {
		out.Damage = append(out.Damage, p.String())
	}
	segments, err := j.Segments()
	if err != nil {
		return err
	}
	for _, segment := range segments {
		out.Journal = append(out.Journal, keyreeveapi.AuditSegment{Name: segment.Name, Size: segment.Size})
	}
	if !verify || j.Dir() == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	for r, err := range audit.Verify(j.Dir(), s.o.Box) {
		if err != nil {
			return err
		}
		i := slices.IndexFunc(out.Journal, func(a keyreeveapi.AuditSegment) bool { return a.Name == r.Segment })
		if i < 0 {
			out.Journal = append(out.Journal, keyreeveapi.AuditSegment{Name: r.Segment}) // begun since
			i = len(out.Journal) - 1
		}
		out.Journal[i].Size, out.Journal[i].Records, out.Journal[i].Verified = r.Size, r.Records, r.Checked
		for _, p := range r.Problems {
			out.Journal[i].Problems = append(out.Journal[i].Problems, p.String())
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil
}
