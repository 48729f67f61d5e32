package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// jail describes one container's process to the program that becomes it. It is written to a file which `testbed
// container FILE` reads after it was started in mount, PID, UTS and IPC namespaces of its own.
type jail struct {
	Root      string            `json:"root"`
	Netns     string            `json:"netns"`
	Hostname  string            `json:"hostname"`
	Program   string            `json:"program"` // on the host; inside it is /image/<base name>
	Argv      []string          `json:"argv"`
	Env       map[string]string `json:"env"`
	Dir       string            `json:"dir"`
	Mounts    []mount           `json:"mounts"`
	Hosts     string            `json:"hosts"` // /etc/hosts
	User      int               `json:"user"`
	Group     int               `json:"group"`
	Groups    []int             `json:"groups"`
	ReadOnly  bool              `json:"readOnly"`
	NoNewPriv bool              `json:"noNewPrivileges"`
	DropAll   bool              `json:"dropAll"`
}

type mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly"`
}

// hostFolders are what every container sees of the host, read-only: programs and libraries. An image of our own would
// bring them; distroless ones have less.
var hostFolders = []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ssl", "/etc/ca-certificates", "/etc/ld.so.cache"}

// Become turns this process into the container described by the file. It returns only with an error.
func Become(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	j := &jail{}
	if err := json.Unmarshal(data, j); err != nil {
		return err
	}
	// The network namespace belongs to a thread, and exec keeps that of the thread that calls it.
	runtime.LockOSThread()
	steps := []func() error{j.enterNetwork, j.buildRoot, j.enterRoot, j.dropPrivileges}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	program, err := j.lookup()
	if err != nil {
		return err
	}
	env := make([]string, 0, len(j.Env))
	for key, value := range j.Env {
		env = append(env, key+"="+value)
	}
	return fmt.Errorf("exec %s: %w", program, unix.Exec(program, j.Argv, env))
}

func (j *jail) enterNetwork() error {
	fd, err := unix.Open(j.Netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", j.Netns, err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return unix.Sethostname([]byte(j.Hostname))
}

// buildRoot makes a root file system in memory that holds the image's program, the host's libraries and the volumes.
func (j *jail) buildRoot() error {
	// Nothing that is mounted here may show outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	if err := os.MkdirAll(j.Root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", j.Root, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for _, folder := range hostFolders {
		if err := j.showHost(folder); err != nil {
			return err
		}
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := j.bind("/dev/"+device, "/dev/"+device, false); err != nil {
			return err
		}
	}
	if err := j.bind(j.Program, "/image/"+filepath.Base(j.Program), true); err != nil {
		return err
	}
	if err := j.writeEtc(); err != nil {
		return err
	}
	if err := makeOpenDir(filepath.Join(j.Root, "tmp")); err != nil {
		return err
	}
	for _, m := range j.Mounts {
		if err := j.bind(m.Source, m.Target, m.ReadOnly); err != nil {
			return err
		}
	}
	proc := filepath.Join(j.Root, "proc")
	if err := os.MkdirAll(proc, 0o755); err != nil {
		return err
	}
	return unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// showHost binds a folder of the host, or repeats it where it is a link, as /lib is on today's Debian.
func (j *jail) showHost(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(target, filepath.Join(j.Root, path))
	}
	return j.bind(path, path, true)
}

func (j *jail) bind(source, target string, readOnly bool) error {
	inside := filepath.Join(j.Root, target)
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(inside, 0o755)
		if errors.Is(err, unix.EROFS) {
			if err = j.cover(inside); err == nil {
				err = os.MkdirAll(inside, 0o755)
			}
		}
	} else if err = os.MkdirAll(filepath.Dir(inside), 0o755); err == nil {
		err = os.WriteFile(inside, nil, 0o644)
	}
	if err != nil {
		return fmt.Errorf("mount point %s: %w", target, err)
	}
	if err := unix.Mount(source, inside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s at %s: %w", source, target, err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.Mount("", inside, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

// cover puts an empty folder over the innermost one on the way to a mount point that lies within what is shown of the host,
// such as /usr/src, where an image has its program. Nothing of the host itself, such as /usr, is covered.
func (j *jail) cover(inside string) error {
	over := filepath.Dir(inside)
	for {
		if _, err := os.Stat(over); err == nil {
			break
		}
		over = filepath.Dir(over)
	}
	if at := strings.TrimPrefix(over, j.Root); at == "" || slices.Contains(hostFolders, at) {
		return fmt.Errorf("%s is the host's", at)
	}
	return unix.Mount("tmpfs", over, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
}

func (j *jail) writeEtc() error {
	users := "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n"
	groups := "root:x:0:\nnonroot:x:65532:\n"
	// There is no DNS; a name that is looked up and not in hosts fails at once instead of after a time-out.
	files := map[string]string{
		"hosts": j.Hosts, "passwd": users, "group": groups, "hostname": j.Hostname + "\n",
		"resolv.conf": "nameserver 127.0.0.1\n", "nsswitch.conf": "hosts: files dns\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(j.Root, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (j *jail) enterRoot() error {
	old := filepath.Join(j.Root, ".old")
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(j.Root, old); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the host: %w", err)
	}
	if err := os.Remove("/.old"); err != nil {
		return err
	}
	if j.Dir != "" {
		if err := os.MkdirAll(j.Dir, 0o755); err != nil {
			return err
		}
	}
	if j.ReadOnly {
		if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID, ""); err != nil {
			return fmt.Errorf("make / read-only: %w", err)
		}
	}
	if j.Dir != "" {
		return os.Chdir(j.Dir)
	}
	return nil
}

func (j *jail) dropPrivileges() error {
	if j.NoNewPriv {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
	}
	if j.DropAll {
		for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("drop capability %d: %w", capability, err)
			}
		}
	}
	if err := unix.Setgroups(j.Groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := unix.Setresgid(j.Group, j.Group, j.Group); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := unix.Setresuid(j.User, j.User, j.User); err != nil {
		return fmt.Errorf("setuid: %w", err)
	}
	// A change of user clears it; without it a container would outlive an agent that was killed.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// lookup finds the program of Argv[0] inside. A path that does not exist, but ends in the image's own program's name,
// is that program: images put it where they like.
func (j *jail) lookup() (string, error) {
	name := j.Argv[0]
	own := "/image/" + filepath.Base(j.Program)
	if filepath.Base(name) == filepath.Base(j.Program) {
		return own, nil
	}
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, folder := range filepath.SplitList(j.Env["PATH"]) {
		if path := filepath.Join(folder, name); unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not found in %s", name, j.Env["PATH"])
}
