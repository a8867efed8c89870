// Witness is what the stories about nodes run in pods: `serve` tells its pod's name, keeps files and can fall ill;
// `fetch` prints what a URL answers, so that a pod can be asked to look for itself.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: witness serve | fetch URL")
	}
	switch os.Args[1] {
	case "serve":
		log.Fatal(serve(os.Args[2:]))
	case "fetch":
		if err := fetch(os.Args[2:]); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatalf("unknown: %s", os.Args[1])
	}
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	address := flags.String("address", ":8080", "where to listen")
	folder := flags.String("folder", os.TempDir(), "where files are kept")
	_ = flags.Parse(arguments)
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	var ill atomic.Bool
	http.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("asked by %s", r.UserAgent())
		fmt.Fprintln(w, name)
	})
	http.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if ill.Load() {
			http.Error(w, "ill", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("PUT /illness", func(http.ResponseWriter, *http.Request) { ill.Store(true) })
	http.HandleFunc("GET /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(*folder, r.PathValue("name")))
	})
	http.HandleFunc("PUT /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		if err := keep(filepath.Join(*folder, r.PathValue("name")), r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	log.Printf("%s listens on %s", name, *address)
	return http.ListenAndServe(*address, nil)
}

func keep(path string, content io.Reader) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	return file.Sync()
}

func fetch(arguments []string) error {
	flags := flag.NewFlagSet("fetch", flag.ExitOnError)
	account := flags.String("account", "", "a folder with token and ca.crt, as every pod has of its service account")
	within := flags.Duration("within", 5*time.Second, "how long to wait for the answer")
	_ = flags.Parse(arguments)
	request, err := http.NewRequest(http.MethodGet, flags.Arg(0), nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: *within}
	if *account != "" {
		if client.Transport, err = identify(request, *account); err != nil {
			return err
		}
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s", answer.Status)
	}
	return nil
}

func identify(request *http.Request, folder string) (*http.Transport, error) {
	token, err := os.ReadFile(filepath.Join(folder, "token"))
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}, nil
}
