package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	page, err := os.ReadFile("templates/index.html")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, string(page)) })
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
