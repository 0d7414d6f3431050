using Broker.Storage;

namespace Broker.Testing;

/// <summary>
/// A disk that is memory. What is written is durable at once, as long as this object lives. A file counts with its
/// length, as space that was allocated is a promise; memory is taken for what is written of it.
/// </summary>
internal sealed class MemoryDevice(long capacityBytes) : IStorageDevice
{
    private readonly Lock _lock = new();
    private readonly HashSet<string> _folders = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, MemoryFile> _files = new(StringComparer.Ordinal);
    private readonly HashSet<string> _locked = new(StringComparer.Ordinal);
    private long _usedBytes;

    public void CreateFolder(string path)
    {
        lock (_lock)
        {
            for (var folder = path; folder is not null; folder = Path.GetDirectoryName(folder))
            {
                _folders.Add(folder);
            }
        }
    }

    public bool Exists(string path)
    {
        lock (_lock)
        {
            return _files.ContainsKey(path);
        }
    }

    public IReadOnlyList<string> List(string folder)
    {
        lock (_lock)
        {
            ThrowIfNoFolder(folder);
            return [.. _files.Keys.Where(path => Path.GetDirectoryName(path) == folder).Select(Path.GetFileName)!];
        }
    }

    public long Length(string path)
    {
        lock (_lock)
        {
            return Find(path).Length;
        }
    }

    public long FreeBytes(string folder) => Math.Max(0, capacityBytes - Interlocked.Read(ref _usedBytes));

    public IStorageFile Open(string path, bool create)
    {
        lock (_lock)
        {
            if (create && !_files.ContainsKey(path))
            {
                ThrowIfNoFolder(Path.GetDirectoryName(path)!);
                _files[path] = new MemoryFile(this, path);
            }

            return new OpenFile(Find(path));
        }
    }

    public void Delete(string path)
    {
        lock (_lock)
        {
            ThrowIfNoFolder(Path.GetDirectoryName(path)!);
            if (_files.Remove(path, out var file))
            {
                file.GiveBack();
            }
        }
    }

    public void Rename(string from, string to)
    {
        lock (_lock)
        {
            var file = Find(from);
            if (from == to)
            {
                return;
            }

            if (_files.Remove(to, out var replaced))
            {
                replaced.GiveBack();
            }

            _files.Remove(from);
            _files[to] = file;
        }
    }

    public void SyncFolder(string folder)
    {
    }

    public IDisposable? TryLock(string path)
    {
        lock (_lock)
        {
            return _locked.Add(path) ? new HeldLock(this, path) : null;
        }
    }

    private void Take(long bytes, string path)
    {
        if (Interlocked.Add(ref _usedBytes, bytes) > capacityBytes)
        {
            Interlocked.Add(ref _usedBytes, -bytes);
            throw new DiskFullException(
                $"The test server's memory ({capacityBytes:N0} bytes) has no room for {path}. Set "
                + $"{nameof(BrokerTestServerOptions)}.{nameof(BrokerTestServerOptions.MemoryBytes)} higher, or keep "
                + "less.");
        }
    }

    private MemoryFile Find(string path) => _files.TryGetValue(path, out var file)
        ? file
        : throw new FileNotFoundException($"There is no file {path}.", path);

    private void ThrowIfNoFolder(string folder)
    {
        if (!_folders.Contains(folder))
        {
            throw new DirectoryNotFoundException($"There is no folder {folder}.");
        }
    }

    /// <summary>A file's bytes, in pages that come to be when they are written.</summary>
    private sealed class MemoryFile(MemoryDevice device, string path)
    {
        private const int PageBytes = 16 * 1024;

        private readonly Lock _lock = new();
        private readonly Dictionary<long, byte[]> _pages = [];
        private long _length;
        private bool _isDeleted;

        public long Length => Interlocked.Read(ref _length);

        public int Read(long offset, Span<byte> into)
        {
            lock (_lock)
            {
                var count = (int)Math.Clamp(_length - offset, 0, into.Length);
                for (var done = 0; done < count;)
                {
                    var (page, at) = Math.DivRem(offset + done, PageBytes);
                    var piece = into[done..count];
                    piece = piece[..Math.Min(piece.Length, PageBytes - (int)at)];
                    if (_pages.TryGetValue(page, out var bytes))
                    {
                        bytes.AsSpan((int)at, piece.Length).CopyTo(piece);
                    }
                    else
                    {
                        piece.Clear();
                    }

                    done += piece.Length;
                }

                return count;
            }
        }

        public void Write(long offset, ReadOnlySpan<byte> from)
        {
            lock (_lock)
            {
                Grow(offset + from.Length);
                while (!from.IsEmpty)
                {
                    var (page, at) = Math.DivRem(offset, PageBytes);
                    var piece = from[..Math.Min(from.Length, PageBytes - (int)at)];
                    if (!_pages.TryGetValue(page, out var bytes))
                    {
                        _pages[page] = bytes = new byte[PageBytes];
                    }

                    piece.CopyTo(bytes.AsSpan((int)at));
                    from = from[piece.Length..];
                    offset += piece.Length;
                }
            }
        }

        public void Allocate(long lengthBytes)
        {
            lock (_lock)
            {
                Grow(lengthBytes);
            }
        }

        /// <summary>Nobody finds it any more; who has it open may read it to the end.</summary>
        public void GiveBack()
        {
            lock (_lock)
            {
                _isDeleted = true;
                Interlocked.Add(ref device._usedBytes, -_length);
            }
        }

        private void Grow(long lengthBytes)
        {
            if (lengthBytes > _length)
            {
                if (!_isDeleted)
                {
                    device.Take(lengthBytes - _length, path);
                }

                _length = lengthBytes;
            }
        }
    }

    private sealed class OpenFile(MemoryFile file) : IStorageFile
    {
        public long Length => file.Length;

        public int Read(long offset, Span<byte> into) => file.Read(offset, into);

        public void Write(long offset, ReadOnlySpan<byte> bytes) => file.Write(offset, bytes);

        public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts)
        {
            for (var i = 0; i < parts.Count; i++)
            {
                file.Write(offset, parts[i].Span);
                offset += parts[i].Length;
            }
        }

        public void Allocate(long lengthBytes) => file.Allocate(lengthBytes);

        public void Sync()
        {
        }

        public void Dispose()
        {
        }
    }

    private sealed class HeldLock(MemoryDevice device, string path) : IDisposable
    {
        public void Dispose()
        {
            lock (device._lock)
            {
                device._locked.Remove(path);
            }
        }
    }
}
