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

func FastCommit(mounts io.Reader, path string) (device, mount string, fast bool) {
	return fastCommit(mounts, path)
}
