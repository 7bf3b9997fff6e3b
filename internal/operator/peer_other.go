//go:build !linux && !darwin

package operator

import (
	"errors"
	"net"
)

const knowsPeers = false

func peerOf(*net.UnixConn) (Peer, error) { return Peer{}, errors.ErrUnsupported }
