package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Images maps image names to programs of this machine.
type Images []Image

// Image is what stands in for one image.
type Image struct {
	// Name is the repository without tag or digest; a leading "*/" stands for any registry and path.
	Name string `json:"name"`
	// User runs the program where the pod does not say; 0 is root.
	User int64 `json:"user"`
	// Programs are tried in order; the first that exists is the image's entrypoint.
	Programs []string `json:"programs"`
	// Env is what the image sets, where the pod does not.
	Env map[string]string `json:"env"`
}

// LoadImages reads the map. $VARIABLES in paths are replaced from the environment, and a relative path starts at the
// map's folder.
func LoadImages(file string) (Images, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var images Images
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, image := range images {
		for n := range image.Programs {
			program := os.ExpandEnv(image.Programs[n])
			if !filepath.IsAbs(program) {
				program = filepath.Join(filepath.Dir(file), program)
			}
			image.Programs[n] = program
		}
	}
	return images, nil
}

// find returns the image's entry and its program, or an error in a runtime's words.
func (images Images) find(name string) (*Image, string, error) {
	repository := repositoryOf(name)
	for n := range images {
		image := &images[n]
		suffix, any := strings.CutPrefix(image.Name, "*/")
		if repository != image.Name && !(any && path.Base(repository) == suffix) {
			continue
		}
		for _, program := range image.Programs {
			if info, err := os.Stat(program); err == nil && !info.IsDir() {
				return image, program, nil
			}
		}
		return nil, "", fmt.Errorf("image %s: none of its programs exists: %s", name, strings.Join(image.Programs, ", "))
	}
	return nil, "", fmt.Errorf("image %s is not in the image map", name)
}

// repositoryOf strips tag and digest and adds Docker's default registry.
func repositoryOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name = name[:colon]
	}
	first, _, qualified := strings.Cut(name, "/")
	switch {
	case !qualified:
		return "docker.io/library/" + name
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		return "docker.io/" + name
	}
	return name
}
