package boltstore

import (
	"io"

	bolt "go.etcd.io/bbolt"
)

// WithCommit returns o with another way to commit a batch.
func WithCommit(o Options, commit func(*bolt.Tx) error) Options {
	o.commit = commit
	return o
}

// WithFree returns o with another way to tell how much room the disk has.
func WithFree(o Options, free func(dir string) (int64, bool)) Options {
	o.free = free
	return o
}

// Queued is how many commits wait for the writer.
func (s *Store) Queued() int { return len(s.queue) }

// Closing is closed when no more commits are taken.
func (s *Store) Closing() <-chan struct{} { return s.closing }

func FastCommit(mounts io.Reader, path string) (device, mount string, fast bool) {
	return fastCommit(mounts, path)
}
