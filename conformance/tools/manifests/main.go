// Reads the files of deploy/ strictly: Kubernetes manifests by the types of the API itself, so that an unknown field, a wrong
// type or a kind that does not exist is an error; Compose files by the Compose specification's own loader.
// Usage: manifests FILE..., where a file named compose.yml is a Compose file.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	failed := len(os.Args) == 1
	for _, path := range os.Args[1:] {
		read := kubernetes
		if filepath.Base(path) == "compose.yml" {
			read = compose
		}
		if err := read(path); err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
		}
	}
	if failed {
		os.Exit(1)
	}
}

func kubernetes(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	for index, document := range bytes.Split(content, []byte("\n---\n")) {
		_, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return fmt.Errorf("document %d: %w", index+1, err)
		}
		fmt.Printf("%s: %s\n", path, kind)
	}
	return nil
}

func compose(path string) error {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithOsEnv)
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	for name := range project.Services {
		fmt.Printf("%s: service %s\n", path, name)
	}
	return nil
}
