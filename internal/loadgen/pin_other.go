//go:build !linux

package loadgen

import (
	"errors"
	"os/exec"
)

var errPin = errors.New("processes can be pinned to cores on Linux only")

func twoCores() (server, client int, ok bool) { return 0, 0, false }

func pinSelf(int) (undo func(), err error) { return nil, errPin }

func pinProcess(int, int) error { return errPin }

func startPinned(*exec.Cmd, int) error { return errPin }

func onCore(int, func() error) error { return errPin }
