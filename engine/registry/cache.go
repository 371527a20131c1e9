package registry

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
)

// sweepEvery is how often a cache is held to its limit.
const sweepEvery = time.Minute

// retryAfter is how long a registry is left alone that could not be reached.
const retryAfter = 5 * time.Second

// serve adds the cache to mux, below its name.
func (c Cache) serve(ctx context.Context, dataDir string, mux *http.ServeMux) error {
	dir := filepath.Join(dataDir, "caches", c.Name)
	kept, err := newApp(ctx, c.config(dir))
	if err != nil {
		return err
	}
	s := &source{kept: kept, open: func() (http.Handler, error) {
		if err := reachable(ctx, c.URL); err != nil {
			return nil, err
		}
		config := c.config(dir)
		forever := time.Duration(0) // what is in nobody's way may stay
		config.Proxy = configuration.Proxy{RemoteURL: c.URL, Username: c.Username, Password: c.Password, TTL: &forever}
		return newApp(ctx, config)
	}}
	mux.Handle("/"+c.Name+"/", used{s, dir})
	if c.MaxBytes > 0 {
		go c.limit(ctx, dir)
	}
	return nil
}

func (c Cache) config(dir string) *configuration.Configuration {
	config := base(dir)
	config.HTTP.Prefix = "/" + c.Name + "/"
	return config
}

// answerWithin is how long a registry may take until it counts as away.
const answerWithin = 5 * time.Second

// reachable is nil when a registry answers, whatever it says. The library asks without a limit of time, and what it has
// begun before it fails goes on for good (registry/handlers/app.go, NewApp).
func reachable(ctx context.Context, registry string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, registry+"/v2/", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// source is what a cache answers with: all that its registry has, or what was kept of it while that cannot be reached.
// The library asks the registry once, when it is set up, for how to log in, and would not serve without an answer.
type source struct {
	kept http.Handler
	open func() (http.Handler, error)

	mu    sync.Mutex
	all   http.Handler // nil: it could not be reached so far
	tried time.Time
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.now().ServeHTTP(w, r) }

func (s *source) now() http.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all != nil {
		return s.all
	}
	if time.Since(s.tried) < retryAfter {
		return s.kept
	}
	all, err := s.open()
	s.tried = time.Now()
	if err != nil {
		logrus.WithError(err).Error("a registry cannot be reached; its cache answers with what it has")
		return s.kept
	}
	s.all = all
	return all
}

// used notes when a blob or a manifest, which is a blob, too, was last served: by its file's time.
type used struct {
	next http.Handler
	dir  string
}

func (u used) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A path that ends in a digest asks for what has it.
	if d, err := digest.Parse(path.Base(r.URL.Path)); err == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		now := time.Now()
		_ = os.Chtimes(blobFile(u.dir, d), now, now) // it may not be here yet
	}
	u.next.ServeHTTP(w, r)
}

// blobFile is where the library keeps a blob (registry/storage/paths.go, blobDataPathSpec).
func blobFile(dir string, d digest.Digest) string {
	return filepath.Join(blobsDir(dir), d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data")
}

func blobsDir(dir string) string { return filepath.Join(dir, "docker", "registry", "v2", "blobs") }

// limit removes what was not used for longest, until ctx is done.
func (c Cache) limit(ctx context.Context, dir string) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	vacuum := storage.NewVacuum(ctx, filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 25}))
	for {
		if err := sweep(dir, c.MaxBytes, func(d digest.Digest) error { return vacuum.RemoveBlob(d.String()) }); err != nil {
			logrus.WithError(err).Errorf("the cache of %s cannot be held to its limit", c.Name)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

type blob struct {
	digest digest.Digest
	size   int64
	used   time.Time
}

// sweep brings the blobs below dir under a limit. What was used in the last minute stays: it may be being sent. A
// manifest is a blob, too; the cache fetches anew what it is asked for and has not got.
func sweep(dir string, limit int64, remove func(digest.Digest) error) error {
	blobs, total, err := blobsIn(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(blobs, func(a, b blob) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	var errs []error
	for _, b := range blobs {
		if total <= limit || time.Since(b.used) < sweepEvery {
			break
		}
		if err := remove(b.digest); err != nil {
			errs = append(errs, err)
			continue
		}
		total -= b.size
	}
	return errors.Join(errs...)
}

func blobsIn(dir string) (blobs []blob, total int64, err error) {
	err = filepath.WalkDir(blobsDir(dir), func(file string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing is there yet, or not any more
		}
		if err != nil || entry.IsDir() || entry.Name() != "data" {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		encoded := filepath.Dir(file)
		algorithm := filepath.Base(filepath.Dir(filepath.Dir(encoded)))
		d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm), filepath.Base(encoded))
		if d.Validate() != nil {
			return nil
		}
		blobs = append(blobs, blob{d, info.Size(), info.ModTime()})
		total += info.Size()
		return nil
	})
	return blobs, total, err
}
