package node

import "github.com/keyreeve/keyreeve/internal/store"

// WrapStore has the node's store wrapped.
func (c *Config) WrapStore(wrap func(store.Store) store.Store) { c.wrapStore = wrap }
