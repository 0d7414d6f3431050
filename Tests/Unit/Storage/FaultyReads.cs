using Broker.Storage;

namespace Broker.Tests.Unit.Storage;

/// <summary>
/// A disk that cannot read or open when told so, and lets something happen before a read; it counts its open files and
/// what is read.
/// </summary>
internal sealed class FaultyReads(IStorageDevice device) : IStorageDevice
{
    private int _open;
    private int _mostOpen;
    private long _readBytes;

    public bool FailOpens { get; set; }

    public bool FailReads { get; set; }

    /// <summary>Runs once, before the next read of a file from this offset.</summary>
    public (long Offset, Action Do)? BeforeRead { get; set; }

    public int OpenFiles => Volatile.Read(ref _open);

    public int MostOpenFiles => Volatile.Read(ref _mostOpen);

    public long ReadBytes => Volatile.Read(ref _readBytes);

    public void CreateFolder(string path) => device.CreateFolder(path);

    public bool Exists(string path) => device.Exists(path);

    public IReadOnlyList<string> List(string folder) => device.List(folder);

    public long Length(string path) => device.Length(path);

    public long FreeBytes(string folder) => device.FreeBytes(folder);

    public IStorageFile Open(string path, bool create)
    {
        if (FailOpens)
        {
            throw new IOException("Simulated: too many open files.");
        }

        var file = new FaultyFile(this, device.Open(path, create));
        var open = Interlocked.Increment(ref _open);
        for (var most = MostOpenFiles; open > most; most = MostOpenFiles)
        {
            Interlocked.CompareExchange(ref _mostOpen, open, most);
        }

        return file;
    }

    public void Delete(string path) => device.Delete(path);

    public void Rename(string from, string to) => device.Rename(from, to);

    public void SyncFolder(string folder) => device.SyncFolder(folder);

    public IDisposable? TryLock(string path) => device.TryLock(path);

    private sealed class FaultyFile(FaultyReads owner, IStorageFile file) : IStorageFile
    {
        private bool _disposed;

        public long Length => file.Length;

        public int Read(long offset, Span<byte> into)
        {
            if (owner.FailReads)
            {
                throw new IOException("Simulated: a read fails.");
            }

            if (owner.BeforeRead is { } before && before.Offset == offset)
            {
                owner.BeforeRead = null;
                before.Do();
            }

            Interlocked.Add(ref owner._readBytes, into.Length);
            return file.Read(offset, into);
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes) => file.Write(offset, bytes);

        public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts) => file.Write(offset, parts);

        public void Allocate(long lengthBytes) => file.Allocate(lengthBytes);

        public void Sync() => file.Sync();

        public void Dispose()
        {
            if (!_disposed)
            {
                _disposed = true;
                Interlocked.Decrement(ref owner._open);
                file.Dispose();
            }
        }
    }
}
