using Broker.Storage;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// A disk that knows names and lengths and forgets every byte at once, so that what remains of a write is our own work.
/// Nothing can be recovered from it.
/// </summary>
internal sealed class DiscardingDevice : IStorageDevice
{
    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, DiscardingFile> _files = new(StringComparer.Ordinal);

    public void CreateFolder(string path)
    {
    }

    public bool Exists(string path)
    {
        lock (_gate)
        {
            return _files.ContainsKey(path);
        }
    }

    public IReadOnlyList<string> List(string folder)
    {
        lock (_gate)
        {
            return [.. _files.Keys.Where(path => Path.GetDirectoryName(path) == folder).Select(Path.GetFileName)!];
        }
    }

    public long Length(string path) => Find(path).Length;

    public long FreeBytes(string folder) => long.MaxValue;

    public IStorageFile Open(string path, bool create)
    {
        lock (_gate)
        {
            if (create)
            {
                _files.TryAdd(path, new DiscardingFile());
            }
        }

        return Find(path);
    }

    public void Delete(string path)
    {
        lock (_gate)
        {
            _files.Remove(path);
        }
    }

    public void Rename(string from, string to)
    {
        lock (_gate)
        {
            if (_files.Remove(from, out var file))
            {
                _files[to] = file;
            }
        }
    }

    public void SyncFolder(string folder)
    {
    }

    public IDisposable? TryLock(string path) => new DiscardingFile();

    private DiscardingFile Find(string path)
    {
        lock (_gate)
        {
            return _files.TryGetValue(path, out var file) ? file : throw new FileNotFoundException("No file.", path);
        }
    }

    private sealed class DiscardingFile : IStorageFile
    {
        public long Length { get; private set; }

        public int Read(long offset, Span<byte> into)
        {
            var count = (int)Math.Clamp(Length - offset, 0, into.Length);
            into[..count].Clear();
            return count;
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes) => Length = Math.Max(Length, offset + bytes.Length);

        public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts)
        {
            for (var i = 0; i < parts.Count; i++)
            {
                offset += parts[i].Length;
            }

            Length = Math.Max(Length, offset);
        }

        public void Allocate(long lengthBytes) => Length = Math.Max(Length, lengthBytes);

        public void Sync()
        {
        }

        public void Dispose()
        {
        }
    }
}
