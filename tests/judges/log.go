// Judges a log with the checks of Go's own checksum database, which know nothing of this house.
//
//	log VKEY DIR INDEX OLD-CHECKPOINT    the checkpoint of DIR, its tiles, one record, and that it extends the old one
//	log VKEY RECEIPT                     the C2SP tlog-proof that an entry receipt is
package main

import (
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tiles reads the files of C2SP tlog-tiles, whose paths do not name the height of a tile: it is always 8.
type tiles string

func (dir tiles) Height() int                     { return 8 }
func (dir tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (dir tiles) ReadTiles(asked []tlog.Tile) (found [][]byte, err error) {
	for _, tile := range asked {
		data, err := os.ReadFile(filepath.Join(string(dir), strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func main() {
	log.SetFlags(0)
	verifier, err := note.NewVerifier(os.Args[1])
	check(err)
	known := note.VerifierList(verifier)
	if len(os.Args) == 3 {
		proof, checkpoint, _ := strings.Cut(string(read(os.Args[2])), "\n\n")
		judgeReceipt(strings.Split(proof, "\n"), open([]byte(checkpoint), known))
		return
	}
	index, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err)
	judgeLog(os.Args[2], open(read(filepath.Join(os.Args[2], "checkpoint")), known), index, open(read(os.Args[4]), known))
}

func judgeLog(dir string, tree tlog.Tree, index int64, old tlog.Tree) {
	reader := tlog.TileHashReader(tree, tiles(dir))
	bundle := tlog.Tile{H: 8, L: -1, N: index / 256, W: int(min(256, tree.N-index/256*256))}
	entries := read(filepath.Join(dir, strings.Replace(bundle.Path(), "tile/8/data/", "tile/entries/", 1)))
	record := entries[index%256*110+2 : index%256*110+110] // each leaf of 108 bytes stands behind its length in two
	inside, err := tlog.ProveRecord(tree.N, index, reader)
	check(err)
	check(tlog.CheckRecord(inside, tree.N, tree.Hash, index, tlog.RecordHash(record)))
	extends, err := tlog.ProveTree(tree.N, old.N, reader)
	check(err)
	check(tlog.CheckTree(extends, tree.N, tree.Hash, old.N, old.Hash))
	fmt.Printf("record %d is in the tree of %d, which extends the tree of %d\n", index, tree.N, old.N)
}

func judgeReceipt(lines []string, tree tlog.Tree) {
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		path = append(path, hash)
	}
	check(tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(record)))
	fmt.Printf("record %d is in the tree of %d\n", index, tree.N)
}

// open returns the tree of a checkpoint; tlog expects the name of Go's own log in the first line.
func open(data []byte, known note.Verifiers) tlog.Tree {
	opened, err := note.Open(data, known)
	check(err)
	_, rest, _ := strings.Cut(opened.Text, "\n")
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + rest))
	check(err)
	return tree
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	check(err)
	return data
}

func check(err error) {
	if err != nil {
		log.Fatalf("refused: %v", err)
	}
}
