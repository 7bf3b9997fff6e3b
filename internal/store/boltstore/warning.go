package boltstore

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Warning returns a sentence on what is known to be unsafe about the file
// system that path lies on, or nothing. It knows ext4 with fast_commit, on which
// files of this engine did not open any more after a power loss
// (https://github.com/etcd-io/bbolt/issues/562).
func Warning(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(real, filepath.Base(abs))
	}
	f, err := os.Open("/proc/mounts")
	if err != nil {
		return "" // not Linux
	}
	defer f.Close()
	device, mount, fast := fastCommit(f, abs)
	if !fast && device != "" {
		// Where the feature is the file system's default, only this file tells.
		b, err := os.ReadFile("/proc/fs/ext4/" + filepath.Base(device) + "/options")
		fast = err == nil && hasLine(string(b), "fast_commit")
	}
	if !fast {
		return ""
	}
	return "the file system at " + mount + " is ext4 with fast_commit, which can damage the store at a power loss: mount it without, or keep frequent backups"
}

// fastCommit returns the device and place of the file system that path is on,
// as far as it is ext4, and whether its mount options say fast_commit.
func fastCommit(mounts io.Reader, path string) (device, mount string, fast bool) {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	longest := -1
	sc := bufio.NewScanner(mounts)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 4 {
			continue
		}
		at := unescape.Replace(f[1])
		if !under(path, at) || len(at) < longest {
			continue
		}
		longest = len(at)
		device, mount, fast = "", "", false
		if f[2] == "ext4" {
			device, mount = f[0], at
			fast = hasOption(f[3], "fast_commit")
		}
	}
	return device, mount, fast
}

func under(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

func hasOption(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

func hasLine(text, want string) bool {
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) == want {
			return true
		}
	}
	return false
}
