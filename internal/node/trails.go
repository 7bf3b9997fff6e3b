package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/archive"
	"github.com/keyreeve/keyreeve/internal/archive/index"
	"github.com/keyreeve/keyreeve/internal/cloudtrail"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/trail"
)

// archiveDir and indexDir are where the directory of audit records has those
// that are delivered.
const (
	archiveDir = "archive"
	indexDir   = "index"
)

// recorded is what is done with events after they are recorded: they are
// delivered to the archive, found, and copied to where trails want them.
type recorded struct {
	index   *index.Index     // nil in a node that is ephemeral
	archive *archive.Archive // likewise
	events  *index.Searcher
	trails  *trail.Set
}

// openRecorded opens what is done with recorded events. The records must be
// open; after an error the caller closes.
func (n *Node) openRecorded(ctx context.Context, u *unsealed) (err error) {
	c := &n.c
	o := trail.Options{Source: undelivered{}, Organization: u.directory.Organization, Now: c.Now, Log: n.log}
	dir := ""
	if c.Ephemeral {
		if len(c.Audit.Buckets)+len(c.Audit.LogGroups) > 0 {
			n.log.Warn("audit.buckets and audit.log_groups are not used: a node that keeps nothing copies no records")
		}
	} else {
		dir = filepath.Join(c.Data, auditDir, archiveDir)
		files := archive.Options{
			Dir: dir, Journal: n.audit, Records: u.records, Region: c.Region, Retention: c.Audit.Retention(), Now: c.Now, Logger: n.log,
		}
		u.index, err = archive.OpenIndex(ctx, files, index.Options{Dir: filepath.Join(c.Data, auditDir, indexDir), Box: n.box, Logger: n.log})
		if err != nil {
			return err
		}
		files.Index = u.index
		if u.archive, err = archive.Open(ctx, files); err != nil {
			return err
		}
		o.Source, o.Buckets, o.LogGroups = u.archive, c.Audit.Buckets, c.Audit.LogGroups
		if o.Outbound, err = outboundOptions(&n.c); err != nil {
			return err
		}
	}
	if u.events, err = archive.NewSearcher(u.index, dir, n.audit); err != nil {
		return fmt.Errorf("opening the search of audit records: %w", err)
	}
	if u.trails, err = trail.New(u.records, o); err != nil {
		return fmt.Errorf("opening the trails: %w", err)
	}
	return nil
}

// run delivers and copies until ctx ends.
func (r *recorded) run(ctx context.Context, u *unsealed) {
	if r.archive == nil {
		return
	}
	u.jobs.Go(func() { r.archive.Run(ctx) })
	u.jobs.Go(func() { r.trails.Run(ctx) })
}

// close closes what openRecorded opened. Nothing runs any more.
func (r *recorded) close() error {
	if r.index == nil {
		return nil
	}
	return r.index.Close()
}

// PublicKeys implements [cloudtrail.Keys].
func (r *recorded) PublicKeys(region string, start, end time.Time) []archive.PublicKey {
	if r.archive == nil {
		return nil
	}
	return r.archive.PublicKeys(region, start, end)
}

// trailService returns the API of CloudTrail.
func trailService(operations *cloudtrail.Service) server.Service {
	return server.Service{
		Name: cloudtrailapi.SigningName, TargetPrefix: cloudtrailapi.TargetPrefix, CapitalErrors: true, Fault: "InternalFailure",
		Operations: cloudtrailapi.Operations(operations), ReadOnly: cloudtrailapi.ReadOnly,
	}
}

// undelivered is the archive of a node that has none: nothing is ever in it.
type undelivered struct{}

// Newest implements [trail.Source].
func (undelivered) Newest() uint64 { return 0 }

// Files implements [trail.Source].
func (undelivered) Files(uint64, int) ([]index.File, error) { return nil, nil }

// Path implements [trail.Source].
func (undelivered) Path(string) string { return "" }

// Key implements [trail.Source].
func (undelivered) Key(context.Context, string, time.Time) (archive.Key, error) {
	return archive.Key{}, errors.New("there is no archive")
}

// Changed implements [trail.Source].
func (undelivered) Changed() <-chan struct{} { return nil }
