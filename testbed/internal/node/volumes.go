package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// volumes lays the pod's volumes out as folders on the host, which containers then bind-mount.
type volumes struct {
	client kubernetes.Interface
	pod    *core.Pod
	dir    string
	// tokens are kept for a while: they live for an hour, and asking for one at every refresh would load the API server.
	tokens map[string]token
}

type token struct {
	value   string
	renewAt time.Time
}

// content is a file's bytes and mode.
type content struct {
	data []byte
	mode int32
}

func (v *volumes) path(name string) string { return filepath.Join(v.dir, "volumes", name) }

// refresh writes all volumes; called again later, it brings changed ConfigMaps, Secrets and tokens up to date.
func (v *volumes) refresh(ctx context.Context) error {
	for _, volume := range v.pod.Spec.Volumes {
		if volume.EmptyDir != nil {
			if err := makeOpenDir(v.path(volume.Name)); err != nil {
				return err
			}
			continue
		}
		files, err := v.files(ctx, volume.VolumeSource)
		if err != nil {
			return fmt.Errorf("volume %q: %w", volume.Name, err)
		}
		if err := v.write(v.path(volume.Name), files); err != nil {
			return fmt.Errorf("volume %q: %w", volume.Name, err)
		}
	}
	return nil
}

// makeOpenDir makes a folder that any user of the pod may write to, as a kubelet's emptyDir is.
func makeOpenDir(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	return os.Chmod(path, 0o777)
}

func (v *volumes) files(ctx context.Context, source core.VolumeSource) (map[string]content, error) {
	switch {
	case source.ConfigMap != nil:
		s := source.ConfigMap
		return v.configMap(ctx, s.Name, s.Items, s.DefaultMode, s.Optional)
	case source.Secret != nil:
		s := source.Secret
		return v.secret(ctx, s.SecretName, s.Items, s.DefaultMode, s.Optional)
	case source.DownwardAPI != nil:
		return v.downward(source.DownwardAPI.Items, source.DownwardAPI.DefaultMode)
	case source.Projected != nil:
		return v.projected(ctx, source.Projected)
	}
	return nil, fmt.Errorf("this kind of volume is not supported: use emptyDir, configMap, secret, downwardAPI or projected")
}

func (v *volumes) projected(ctx context.Context, projected *core.ProjectedVolumeSource) (map[string]content, error) {
	all := map[string]content{}
	for _, source := range projected.Sources {
		var files map[string]content
		var err error
		switch {
		case source.ConfigMap != nil:
			files, err = v.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Items, projected.DefaultMode, source.ConfigMap.Optional)
		case source.Secret != nil:
			files, err = v.secret(ctx, source.Secret.Name, source.Secret.Items, projected.DefaultMode, source.Secret.Optional)
		case source.DownwardAPI != nil:
			files, err = v.downward(source.DownwardAPI.Items, projected.DefaultMode)
		case source.ServiceAccountToken != nil:
			files, err = v.token(ctx, source.ServiceAccountToken, projected.DefaultMode)
		default:
			err = fmt.Errorf("this projected source is not supported")
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(all, files)
	}
	return all, nil
}

func (v *volumes) configMap(ctx context.Context, name string, items []core.KeyToPath, mode *int32, optional *bool) (map[string]content, error) {
	object, err := v.client.CoreV1().ConfigMaps(v.pod.Namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	data := maps.Clone(object.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	return project(data, items, mode, optional)
}

func (v *volumes) secret(ctx context.Context, name string, items []core.KeyToPath, mode *int32, optional *bool) (map[string]content, error) {
	object, err := v.client.CoreV1().Secrets(v.pod.Namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	return project(object.Data, items, mode, optional)
}

func unlessOptional(err error, optional *bool) error {
	if errors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return err
}

// project picks the items, or everything where there are none.
func project(data map[string][]byte, items []core.KeyToPath, mode *int32, optional *bool) (map[string]content, error) {
	files := map[string]content{}
	if len(items) == 0 {
		for key, value := range data {
			files[key] = content{value, modeOr(mode, 0o644)}
		}
		return files, nil
	}
	for _, item := range items {
		value, found := data[item.Key]
		if !found && (optional == nil || !*optional) {
			return nil, fmt.Errorf("references a non-existent key: %s", item.Key)
		} else if found {
			files[item.Path] = content{value, modeOr(item.Mode, modeOr(mode, 0o644))}
		}
	}
	return files, nil
}

func modeOr(mode *int32, other int32) int32 {
	if mode != nil {
		return *mode
	}
	return other
}

func (v *volumes) downward(items []core.DownwardAPIVolumeFile, mode *int32) (map[string]content, error) {
	files := map[string]content{}
	for _, item := range items {
		if item.FieldRef == nil {
			return nil, fmt.Errorf("a downwardAPI volume with resourceFieldRef is not supported")
		}
		value, err := podField(v.pod, item.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		files[item.Path] = content{[]byte(value), modeOr(item.Mode, modeOr(mode, 0o644))}
	}
	return files, nil
}

func (v *volumes) token(ctx context.Context, source *core.ServiceAccountTokenProjection, mode *int32) (map[string]content, error) {
	kept := v.tokens[source.Path]
	if time.Now().After(kept.renewAt) {
		request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
			ExpirationSeconds: source.ExpirationSeconds,
			BoundObjectRef:    &authentication.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: v.pod.Name, UID: v.pod.UID},
		}}
		if source.Audience != "" {
			request.Spec.Audiences = []string{source.Audience}
		}
		account := v.pod.Spec.ServiceAccountName
		answer, err := v.client.CoreV1().ServiceAccounts(v.pod.Namespace).CreateToken(ctx, account, request, meta.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("token for service account %s: %w", account, err)
		}
		kept = token{answer.Status.Token, time.Now().Add(time.Until(answer.Status.ExpirationTimestamp.Time) / 2)}
		v.tokens[source.Path] = kept
	}
	// A kubelet gives the token to the pod's user with mode 0600; here it is readable by all of the pod.
	return map[string]content{source.Path: {[]byte(kept.value), modeOr(mode, 0o644)}}, nil
}

// write lays files out as a kubelet does: in a new folder, which the link ..data then names. A reader sees all files
// of one state; the names that it opens stay.
func (v *volumes) write(dir string, files map[string]content) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	if old != "" && unchanged(filepath.Join(dir, old), files) {
		return nil
	}
	fresh, err := os.MkdirTemp(dir, ".."+time.Now().Format("2006_01_02_15_04_05."))
	if err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	for name, file := range files {
		if err := v.writeFile(filepath.Join(fresh, name), file); err != nil {
			return err
		}
		// Only the first part of a path becomes a link: a/b is reached through the folder a.
		first := name
		for parent := filepath.Dir(first); parent != "."; parent = filepath.Dir(first) {
			first = parent
		}
		if err := os.Symlink(filepath.Join("..data", first), filepath.Join(dir, first)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	if err := os.Symlink(filepath.Base(fresh), filepath.Join(dir, "..data_tmp")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil || old == "" {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, old))
}

func (v *volumes) writeFile(path string, file content) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, file.data, 0o600); err != nil {
		return err
	}
	mode := os.FileMode(file.mode)
	if security := v.pod.Spec.SecurityContext; security != nil && security.FSGroup != nil {
		if err := os.Chown(path, 0, int(*security.FSGroup)); err != nil {
			return err
		}
		mode |= 0o040
	}
	return os.Chmod(path, mode)
}

func unchanged(dir string, files map[string]content) bool {
	for name, file := range files {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(data) != string(file.data) {
			return false
		}
	}
	count := 0
	_ = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			count++
		}
		return nil
	})
	return count == len(files)
}
