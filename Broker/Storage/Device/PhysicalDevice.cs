using System.Collections;
using Microsoft.Win32.SafeHandles;

namespace Broker.Storage;

/// <summary>The machine's own file system. On Linux flushes are fdatasync, and folders are flushed too.</summary>
public sealed class PhysicalDevice : IStorageDevice
{
    public void CreateFolder(string path)
    {
        var missing = new Stack<string>();
        var full = Path.GetFullPath(path);
        for (var folder = full; folder is not null && !Directory.Exists(folder); folder = Path.GetDirectoryName(folder))
        {
            missing.Push(folder);
        }

        while (missing.TryPop(out var folder))
        {
            Translate(folder, static target => Directory.CreateDirectory(target));
            SyncFolder(Path.GetDirectoryName(folder) ?? folder);
        }
    }

    public bool Exists(string path) => File.Exists(path);

    public IReadOnlyList<string> List(string folder)
    {
        var names = Directory.GetFiles(folder);
        for (var i = 0; i < names.Length; i++)
        {
            names[i] = Path.GetFileName(names[i]);
        }

        Array.Sort(names, StringComparer.Ordinal);
        return names;
    }

    public long Length(string path) => new FileInfo(path).Length;

    public long FreeBytes(string folder) => new DriveInfo(folder).AvailableFreeSpace;

    public IStorageFile Open(string path, bool create)
    {
        try
        {
            var mode = create ? FileMode.OpenOrCreate : FileMode.Open;
            var handle = File.OpenHandle(path, mode, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            return new PhysicalFile(path, handle);
        }
        catch (IOException failure) when (SystemCalls.IsDiskFull(failure))
        {
            throw SystemCalls.DiskFull(path, failure);
        }
    }

    public void Delete(string path) => File.Delete(path);

    public void Rename(string from, string to) =>
        Translate((from, to), static paths => File.Move(paths.from, paths.to, overwrite: true));

    public void SyncFolder(string folder)
    {
        // Windows has no flush of folders: NTFS journals its names by itself.
        if (!OperatingSystem.IsWindows())
        {
            SystemCalls.SyncFolder(folder);
        }
    }

    public IDisposable? TryLock(string path)
    {
        try
        {
            // FileShare.None is flock(LOCK_EX) on Unix: the kernel drops it with the process, however that ends.
            return File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException failure) when (SystemCalls.IsSharingViolation(failure))
        {
            return null;
        }
    }

    private static void Translate<T>(T argument, Action<T> operation)
    {
        try
        {
            operation(argument);
        }
        catch (IOException failure) when (SystemCalls.IsDiskFull(failure))
        {
            throw SystemCalls.DiskFull(argument?.ToString() ?? string.Empty, failure);
        }
    }
}

/// <summary>A file of the machine's file system, by positioned reads and writes.</summary>
internal sealed class PhysicalFile(string path, SafeFileHandle handle) : IStorageFile
{
    private const int PartsPerCall = GatheredWrite.PartsPerCall;

    private static readonly byte[] Zeros = new byte[1024 * 1024];

    /// <summary>Used by the one writer of the file.</summary>
    private GatheredWrite? _gathered;

    public long Length => RandomAccess.GetLength(handle);

    public int Read(long offset, Span<byte> into)
    {
        var total = 0;
        while (total < into.Length)
        {
            var count = RandomAccess.Read(handle, into[total..], offset + total);
            if (count == 0)
            {
                break;
            }

            total += count;
        }

        return total;
    }

    public void Write(long offset, ReadOnlySpan<byte> bytes)
    {
        try
        {
            RandomAccess.Write(handle, bytes, offset);
        }
        catch (IOException failure) when (SystemCalls.IsDiskFull(failure))
        {
            throw SystemCalls.DiskFull(path, failure);
        }
    }

    public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts)
    {
        if (OperatingSystem.IsLinux() && Environment.Is64BitProcess)
        {
            _gathered ??= new GatheredWrite(path, handle);
            _gathered.Write(offset, parts);
            return;
        }

        try
        {
            for (var first = 0; first < parts.Count; first += PartsPerCall)
            {
                var window = parts.Count <= PartsPerCall ? parts : new Window(parts, first);
                RandomAccess.Write(handle, window, offset);
                for (var i = 0; i < window.Count; i++)
                {
                    offset += window[i].Length;
                }
            }
        }
        catch (IOException failure) when (SystemCalls.IsDiskFull(failure))
        {
            throw SystemCalls.DiskFull(path, failure);
        }
    }

    public void Allocate(long lengthBytes)
    {
        var length = Length;
        if (length >= lengthBytes
            || (OperatingSystem.IsLinux() && SystemCalls.TryAllocate(handle, path, length, lengthBytes)))
        {
            return;
        }

        for (var offset = length; offset < lengthBytes; offset += Zeros.Length)
        {
            Write(offset, Zeros.AsSpan(0, (int)Math.Min(Zeros.Length, lengthBytes - offset)));
        }
    }

    public void Sync()
    {
        if (OperatingSystem.IsLinux())
        {
            SystemCalls.SyncData(handle, path);
        }
        else
        {
            RandomAccess.FlushToDisk(handle);
        }
    }

    public void Dispose() => handle.Dispose();

    /// <summary>At most <see cref="PartsPerCall"/> of the parts, without copying them.</summary>
    private sealed class Window(IReadOnlyList<ReadOnlyMemory<byte>> parts, int first)
        : IReadOnlyList<ReadOnlyMemory<byte>>
    {
        public int Count => Math.Min(PartsPerCall, parts.Count - first);

        public ReadOnlyMemory<byte> this[int index] => parts[first + index];

        public IEnumerator<ReadOnlyMemory<byte>> GetEnumerator()
        {
            for (var i = 0; i < Count; i++)
            {
                yield return this[i];
            }
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
