using Broker.Storage;

namespace Broker.Tests.Simulation;

/// <summary>
/// A disk in memory that keeps what was flushed apart from what was only written, names included. A power cut resolves
/// the difference by a seeded random source; faults fail single operations. The same seed and the same calls give the
/// same disk.
/// </summary>
public sealed class SimulatedDevice(int seed) : IStorageDevice
{
    private readonly Random _random = new(seed);
    private readonly SortedSet<string> _folders = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<NameChange>> _pendingNames = [];
    private readonly HashSet<string> _locks = [];
    private SortedDictionary<string, SimulatedDeviceInode> _live = new(StringComparer.Ordinal);
    private SortedDictionary<string, SimulatedDeviceInode> _durable = new(StringComparer.Ordinal);
    private bool _isDown;

    /// <summary>Decides about each changing operation before it runs.</summary>
    public Func<SimulatedDeviceOperation, string, SimulatedDeviceFault>? Fault { get; set; }

    /// <summary>
    /// Space for the files' lengths; beyond it an operation fails with <see cref="DiskFullException"/>.
    /// </summary>
    public long CapacityBytes { get; set; } = long.MaxValue;

    /// <summary>Files that cannot grow, whatever the capacity: as with a quota.</summary>
    public Func<string, bool> IsFull { get; init; } = static _ => false;

    /// <summary>Hears of every operation, reads too, before it runs, and what it is about; null: nobody does.</summary>
    public Action<string>? OnTouch { get; init; }

    /// <summary>
    /// Files in which a sector that was being written when the power was cut may hold neither its old bytes nor its new
    /// ones. The log relies on a sector being one or the other, as databases do; the vote file does not.
    /// </summary>
    public Func<string, bool> HasFragileSectors { get; set; } = static _ => false;

    /// <summary>Changing operations so far.</summary>
    public long OperationCount { get; private set; }

    /// <summary>The operation of this number (from 1) cuts the power; null: none.</summary>
    public long? PowerCutAt { get; set; }

    internal Lock Gate { get; } = new();

    internal int Life { get; private set; }

    public void CreateFolder(string path) => Change(
        SimulatedDeviceOperation.CreateFolder,
        path,
        () =>
        {
            for (var folder = path; !string.IsNullOrEmpty(folder); folder = Path.GetDirectoryName(folder))
            {
                _folders.Add(folder);
            }
        });

    public bool Exists(string path) => Run(() => _live.ContainsKey(path));

    public IReadOnlyList<string> List(string folder) => Run(() =>
    {
        var names = new List<string>();
        foreach (var path in _live.Keys)
        {
            if (path.StartsWith(folder, StringComparison.Ordinal)
                && path.LastIndexOf(Path.DirectorySeparatorChar) == folder.Length)
            {
                names.Add(path[(folder.Length + 1)..]);
            }
        }

        return names;
    });

    public long Length(string path) => Run(() => Find(path).Length);

    public long FreeBytes(string folder) => long.MaxValue;

    public IStorageFile Open(string path, bool create)
    {
        lock (Gate)
        {
            OnTouch?.Invoke(path);
            ThrowIfDown();
            if (create && !_live.ContainsKey(path))
            {
                var folder = Path.GetDirectoryName(path)!;
                if (!_folders.Contains(folder))
                {
                    throw new DirectoryNotFoundException(folder);
                }

                Begin(SimulatedDeviceOperation.Create, path, growthBytes: 0);
                End(() => ChangeName(folder, remove: null, path, new SimulatedDeviceInode()), isPending: true);
            }

            return new SimulatedDeviceFile(this, path, Find(path), Life);
        }
    }

    public void Delete(string path) => Change(
        SimulatedDeviceOperation.Delete,
        path,
        () => ChangeName(Path.GetDirectoryName(path)!, path, add: null, inode: null));

    public void Rename(string from, string to) => Change(
        SimulatedDeviceOperation.Rename, from, () => ChangeName(Path.GetDirectoryName(from)!, from, to, Find(from)));

    public void SyncFolder(string folder)
    {
        lock (Gate)
        {
            ThrowIfDown();
            Begin(SimulatedDeviceOperation.SyncFolder, folder, growthBytes: 0);
            End(() => ApplyNames(folder, int.MaxValue), isPending: false);
        }
    }

    public IDisposable? TryLock(string path) => Run(() => _locks.Add(path) ? new HeldLock(this, path, Life) : null);

    /// <summary>
    /// The power is cut and comes back: open files are void, and what was not flushed meets its fate.
    /// </summary>
    public void Crash(SimulatedDeviceCrash mode)
    {
        lock (Gate)
        {
            foreach (var (folder, pending) in _pendingNames.ToList())
            {
                // A journaling file system keeps the order of changes to names.
                ApplyNames(folder, mode switch
                {
                    SimulatedDeviceCrash.DropUnsynced => 0,
                    SimulatedDeviceCrash.KeepUnsynced => pending.Count,
                    _ => _random.Next(pending.Count + 1),
                });
            }

            _pendingNames.Clear();
            _live = new SortedDictionary<string, SimulatedDeviceInode>(_durable, StringComparer.Ordinal);
            foreach (var (path, inode) in _live)
            {
                inode.Crash(mode, HasFragileSectors(path), _random);
            }

            Kill();
        }
    }

    /// <summary>The process ends by kill -9: open files are void, the page cache stays.</summary>
    public void Kill()
    {
        lock (Gate)
        {
            Life++;
            _isDown = false;
            PowerCutAt = null;
            _locks.Clear();
        }
    }

    /// <summary>Damages a file: the bits of the mask are flipped.</summary>
    public void Flip(string path, long offset, byte mask) => Run(() =>
    {
        Find(path).Flip(offset, mask);
        return true;
    });

    /// <summary>Damages a file: it ends here, or goes on with zeros.</summary>
    public void SetLength(string path, long length) => Run(() =>
    {
        Find(path).SetLength(length);
        Find(path).Sync();
        return true;
    });

    /// <summary>Another disk with the same files, all of them durable.</summary>
    public SimulatedDevice Clone(int otherSeed)
    {
        lock (Gate)
        {
            var clone = new SimulatedDevice(otherSeed);
            clone._folders.UnionWith(_folders);
            foreach (var (path, inode) in _live)
            {
                clone._live[path] = inode.CloneLive();
            }

            clone._durable = new SortedDictionary<string, SimulatedDeviceInode>(clone._live, StringComparer.Ordinal);
            return clone;
        }
    }

    internal T Run<T>(Func<T> read, Action? check = null)
    {
        lock (Gate)
        {
            OnTouch?.Invoke("the disk");
            ThrowIfDown();
            check?.Invoke();
            return read();
        }
    }

    internal void Begin(SimulatedDeviceOperation operation, string path, long growthBytes)
    {
        OnTouch?.Invoke(path);
        ThrowIfDown();
        OperationCount++;
        var fault = Fault?.Invoke(operation, path) ?? SimulatedDeviceFault.None;
        if (fault == SimulatedDeviceFault.DiskFull
            || (growthBytes > 0 && IsFull(path))
            || (growthBytes > 0 && !Has(growthBytes)))
        {
            throw new DiskFullException($"Simulated: no space for {operation} of {path}.");
        }

        if (fault == SimulatedDeviceFault.IoError)
        {
            throw new IOException($"Simulated: {operation} of {path} fails.");
        }
    }

    /// <summary>
    /// Does the operation, unless the power is cut in it; then a pending one may still meet its luck at the crash.
    /// </summary>
    internal void End(Action isDone, bool isPending)
    {
        var isCut = OperationCount == PowerCutAt;
        if (isPending || !isCut)
        {
            isDone();
        }

        if (isCut)
        {
            _isDown = true;
            throw new SimulatedPowerCutException();
        }
    }

    private bool Has(long moreBytes) =>
        CapacityBytes == long.MaxValue
        || _live.Values.Sum(static inode => inode.Length) + moreBytes <= CapacityBytes;

    private void Change(SimulatedDeviceOperation operation, string path, Action change)
    {
        lock (Gate)
        {
            Begin(operation, path, growthBytes: 0);
            End(change, isPending: true);
        }
    }

    private SimulatedDeviceInode Find(string path) =>
        _live.TryGetValue(path, out var inode)
            ? inode
            : throw new FileNotFoundException("Simulated: no such file.", path);

    private void ThrowIfDown()
    {
        if (_isDown)
        {
            throw new SimulatedPowerCutException();
        }
    }

    private void ChangeName(string folder, string? remove, string? add, SimulatedDeviceInode? inode)
    {
        if (!_pendingNames.TryGetValue(folder, out var pending))
        {
            _pendingNames[folder] = pending = [];
        }

        var change = new NameChange(remove, add, inode);
        pending.Add(change);
        Apply(_live, change);
    }

    private void ApplyNames(string folder, int count)
    {
        if (_pendingNames.Remove(folder, out var pending))
        {
            foreach (var change in pending.Take(count))
            {
                Apply(_durable, change);
            }
        }
    }

    private static void Apply(SortedDictionary<string, SimulatedDeviceInode> names, NameChange change)
    {
        if (change.Remove is not null)
        {
            names.Remove(change.Remove);
        }

        if (change.Add is not null)
        {
            names[change.Add] = change.Inode!;
        }
    }

    private readonly record struct NameChange(string? Remove, string? Add, SimulatedDeviceInode? Inode);

    private sealed class HeldLock(SimulatedDevice device, string path, int life) : IDisposable
    {
        public void Dispose()
        {
            lock (device.Gate)
            {
                if (device.Life == life)
                {
                    device._locks.Remove(path);
                }
            }
        }
    }
}
