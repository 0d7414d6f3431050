using Broker.Storage;

namespace Broker.Tests.Unit.Cluster;

/// <summary>Another device, which hangs under the files of a folder until it is mended.</summary>
internal sealed class HangingDevice(IStorageDevice inner) : IStorageDevice, IDisposable
{
    private readonly ManualResetEventSlim _goesOn = new(initialState: true);
    private volatile string? _folder;

    /// <summary>What the disk says of its free space; null: the truth.</summary>
    public long? FreeSpace { get; set; }

    /// <summary>Nothing that is asked of these files from now on comes to an end.</summary>
    public void Hang(string folder)
    {
        _folder = folder;
        _goesOn.Reset();
    }

    public void Mend() => _goesOn.Set();

    public void Dispose() => _goesOn.Dispose();

    public void CreateFolder(string path) => inner.CreateFolder(path);

    public bool Exists(string path) => Passing(path).Exists(path);

    public IReadOnlyList<string> List(string folder) => Passing(folder).List(folder);

    public long Length(string path) => Passing(path).Length(path);

    public long FreeBytes(string folder) => FreeSpace ?? inner.FreeBytes(folder);

    public IStorageFile Open(string path, bool create) =>
        new HangingFile(this, Passing(path).Open(path, create), path);

    public void Delete(string path) => Passing(path).Delete(path);

    public void Rename(string from, string to) => Passing(from).Rename(from, to);

    public void SyncFolder(string folder) => Passing(folder).SyncFolder(folder);

    public IDisposable? TryLock(string path) => inner.TryLock(path);

    private IStorageDevice Passing(string path)
    {
        Pass(path);
        return inner;
    }

    private void Pass(string path)
    {
        if (_folder is { } folder && path.StartsWith(folder, StringComparison.Ordinal))
        {
            _goesOn.Wait();
        }
    }

    private sealed class HangingFile(HangingDevice device, IStorageFile file, string path) : IStorageFile
    {
        public long Length => Passing.Length;

        private IStorageFile Passing
        {
            get
            {
                device.Pass(path);
                return file;
            }
        }

        public int Read(long offset, Span<byte> into) => Passing.Read(offset, into);

        public void Write(long offset, ReadOnlySpan<byte> bytes) => Passing.Write(offset, bytes);

        public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts) => Passing.Write(offset, parts);

        public void Allocate(long lengthBytes) => Passing.Allocate(lengthBytes);

        public void Sync() => Passing.Sync();

        public void Dispose() => file.Dispose();
    }
}
