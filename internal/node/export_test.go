package node

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/server"
	"github.com/keyreeve/keyreeve/internal/store"
)

// WrapStore has the node's store wrapped.
func (c *Config) WrapStore(wrap func(store.Store) store.Store) { c.wrapStore = wrap }

// WrapRecorder has what records the node's calls wrapped.
func (c *Config) WrapRecorder(wrap func(server.Recorder) server.Recorder) { c.wrapRecorder = wrap }

// StoredTime returns the time that a restart would believe.
func (n *Node) StoredTime(ctx context.Context) (time.Time, error) {
	rec, err := n.open.Load().records.Get(ctx, record.KindSystem, clockKey)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(rec.Value[1:]))), nil
}

// Deliver closes the journal's open segment and delivers what is closed.
func (n *Node) Deliver(ctx context.Context) error {
	if err := n.audit.Cut(); err != nil {
		return err
	}
	return n.open.Load().archive.Deliver(ctx)
}

// EncodeHead and DecodeHead are those of a vault.
var (
	EncodeHead = encodeHead
	DecodeHead = decodeHead
)
