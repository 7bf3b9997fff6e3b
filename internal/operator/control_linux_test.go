package operator_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keyreeve/keyreeve/internal/operator"
)

// TestOtherUser connects as another user to a socket that was made accessible.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	dir := t.TempDir()
	log := listen(t, dir, &fake{})
	path := filepath.Join(dir, operator.SocketName)
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	type result struct {
		answer string
		err    error
	}
	done := make(chan result)
	go func() {
		// The thread takes the other user's id, and ends with the goroutine.
		runtime.LockOSThread()
		answer, err := func() (string, error) {
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
				return "", e
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return "", err
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				return "", err
			}
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
				return "", err
			}
			// It may be closed before it is written to.
			_ = unix.Sendto(fd, []byte(`{"command":"env"}`+"\n"), unix.MSG_NOSIGNAL, nil)
			buf := make([]byte, 4096)
			n, err := unix.Read(fd, buf)
			if err == unix.ECONNRESET {
				n, err = 0, nil
			}
			return string(buf[:max(n, 0)]), err
		}()
		done <- result{answer, err}
	}()
	r := <-done
	if r.err != nil || r.answer != "" {
		t.Errorf("another user was answered %q, %v", r.answer, r.err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if strings.Contains(log.String(), "refused another user") {
			return
		}
	}
	t.Errorf("the log does not tell: %s", log)
}
