namespace Broker.Storage;

/// <summary>
/// Term, vote and what is known durable, in two slots. Every write goes to both, one after the other, each flushed; it
/// returns when both are durable. Therefore one bad slot is always harmless: either its write never returned, or the
/// other slot holds the same record or a newer one. Two bad slots are a lost vote.
/// </summary>
internal sealed class VoteFile : IDisposable
{
    /// <summary>
    /// The slots lie in different 4 KiB blocks, so that one torn or unreadable block cannot hit both.
    /// </summary>
    private const int SlotDistanceBytes = 4096;

    public const int FileBytes = 2 * SlotDistanceBytes;

    private readonly IStorageFile _file;
    private readonly GroupFolder _folder;
    private readonly byte[] _slot = new byte[VoteRecord.SizeBytes];
    private int _firstSlot;

    private VoteFile(IStorageFile file, GroupFolder folder)
    {
        _file = file;
        _folder = folder;
    }

    /// <summary>The record as last written; what it says is durable.</summary>
    public VoteRecord Current { get; private set; } = VoteRecord.Initial;

    /// <summary>Whether a slot was bad or behind when the file was opened; the next write mends it.</summary>
    public bool NeedsRepair { get; private set; }

    /// <summary>Makes the file, or replaces one that is lost; it has its name when it is durable.</summary>
    public static VoteFile Create(GroupFolder folder, VoteRecord initial)
    {
        var path = folder.PathOf(GroupFolder.VoteName);
        var temporary = path + GroupFolder.TemporarySuffix;
        var file = folder.Device.Open(temporary, create: true);
        try
        {
            file.Allocate(FileBytes);
            var vote = new VoteFile(file, folder);
            vote.Write(initial);
            folder.Device.Rename(temporary, path);
            folder.Sync();
            return vote;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Null when the file is missing, or neither slot can be read.</summary>
    public static VoteFile? TryOpen(GroupFolder folder)
    {
        var path = folder.PathOf(GroupFolder.VoteName);
        if (!folder.Device.Exists(path))
        {
            return null;
        }

        var file = folder.Device.Open(path, create: false);
        try
        {
            var vote = new VoteFile(file, folder);
            if (vote.TryRecover(path))
            {
                return vote;
            }

            file.Dispose();
            return null;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Makes the record durable in both slots; the sequence is given here.</summary>
    public void Write(VoteRecord next)
    {
        next = next with { Sequence = Current.Sequence + 1 };
        next.Encode(_slot, _folder.Group, _folder.StoreId);
        for (var i = 0; i < 2; i++)
        {
            // The slot that may be bad or behind goes first: the other one stays readable meanwhile.
            _file.Write((_firstSlot + i) % 2 * SlotDistanceBytes, _slot);
            _file.Sync();
        }

        Current = next;
        NeedsRepair = false;
    }

    public void Dispose() => _file.Dispose();

    private bool TryRecover(string path)
    {
        var first = ReadSlot(path, 0);
        var second = ReadSlot(path, 1);
        if (first is null && second is null)
        {
            return false;
        }

        _firstSlot = second is null || second.Sequence < first?.Sequence ? 1 : 0;
        Current = (_firstSlot == 1 ? first : second)!;
        NeedsRepair = first?.Sequence != second?.Sequence;

        // A process that was killed may have left the slot in the page cache only; it is about to be revealed.
        _file.Sync();
        return true;
    }

    private VoteRecord? ReadSlot(string path, int slot)
    {
        int count;
        try
        {
            count = _file.Read(slot * SlotDistanceBytes, _slot);
        }
        catch (IOException)
        {
            // A slot that the disk cannot read is as good as a damaged one: the other one decides.
            return null;
        }

        return count == _slot.Length ? VoteRecord.TryDecode(_slot, path, _folder.Group, _folder.StoreId) : null;
    }
}
