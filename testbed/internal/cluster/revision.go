package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// etcd's JSON interface; keys and values are base64.
type etcdAnswer struct {
	Header struct {
		Revision string `json:"revision"`
	} `json:"header"`
}

// writers is how many requests raise the revision at a time.
const writers = 16

func (s *Supervisor) call(ctx context.Context, path string, body any) (int64, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	url := fmt.Sprintf("http://%s:2379/v3/%s", s.Loopback(), path)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("etcd: %s: %s", path, response.Status)
	}
	var answer etcdAnswer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	return strconv.ParseInt(answer.Header.Revision, 10, 64)
}

// revision is etcd's current one.
func (s *Supervisor) revision(ctx context.Context) (int64, error) {
	return s.call(ctx, "kv/range", map[string]any{"key": "AA==", "limit": 1})
}

// raiseRevision writes to a key that nobody reads until the revision is reached, and forgets all before it, so that
// who watches from an older one is told to list anew.
func (s *Supervisor) raiseRevision(ctx context.Context, goal int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				revision, err := s.call(ctx, "kv/put", map[string]any{"key": "dGVzdGJlZA==", "value": "AA=="})
				if err != nil {
					cancel(err)
				}
				if err != nil || revision >= goal {
					return
				}
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, err := s.call(ctx, "kv/compaction", map[string]any{"revision": strconv.FormatInt(goal, 10)})
	return err
}
