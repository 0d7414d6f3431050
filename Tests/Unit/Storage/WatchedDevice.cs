using Broker.Storage;

namespace Broker.Tests.Unit.Storage;

/// <summary>Another device, whose reads are seen, and may be made to fail.</summary>
internal sealed class WatchedDevice(IStorageDevice inner, Action<string, long, int> onRead) : IStorageDevice
{
    public void CreateFolder(string path) => inner.CreateFolder(path);

    public bool Exists(string path) => inner.Exists(path);

    public IReadOnlyList<string> List(string folder) => inner.List(folder);

    public long Length(string path) => inner.Length(path);

    public long FreeBytes(string folder) => inner.FreeBytes(folder);

    public IStorageFile Open(string path, bool create) => new WatchedFile(inner.Open(path, create), path, onRead);

    public void Delete(string path) => inner.Delete(path);

    public void Rename(string from, string to) => inner.Rename(from, to);

    public void SyncFolder(string folder) => inner.SyncFolder(folder);

    public IDisposable? TryLock(string path) => inner.TryLock(path);

    private sealed class WatchedFile(IStorageFile file, string path, Action<string, long, int> onRead) : IStorageFile
    {
        public long Length => file.Length;

        public int Read(long offset, Span<byte> into)
        {
            onRead(path, offset, into.Length);
            return file.Read(offset, into);
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes) => file.Write(offset, bytes);

        public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts) => file.Write(offset, parts);

        public void Allocate(long lengthBytes) => file.Allocate(lengthBytes);

        public void Sync() => file.Sync();

        public void Dispose() => file.Dispose();
    }
}
