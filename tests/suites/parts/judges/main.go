// What Go's net/http reads: main PORT
package main

import (
	"crypto/sha1"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Read", fmt.Sprintf("%s:%d:%x", r.Method, len(body), sha1.Sum(body))[:len(r.Method)+len(fmt.Sprint(len(body)))+14])
	w.Header().Set("Content-Length", "0")
}

func main() {
	server := http.Server{
		Addr:                         "127.0.0.1:" + os.Args[1],
		Handler:                      http.HandlerFunc(answer),
		MaxHeaderBytes:               1 << 20,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
	}
	log.Fatal(server.ListenAndServe())
}
