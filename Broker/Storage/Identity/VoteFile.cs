using System.Buffers.Binary;
using Broker.Domain;

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

/// <summary>
/// One slot of the vote file, 512 bytes, little endian; the rest is zero:
/// <code>
///   0 "BRKRVOTE"          8 format version       12 CRC32C of all other bytes of the slot
///  16 sequence           24 term                 32 voted for          36 group
///  40 store id (16)      56 durable floor        64 truncation epoch   68 header CRC32C of the frame at the base
///  72 active segment: first index, 80 nonce, 88 capacity in bytes (0: not made yet)
///  96 first index that the last truncation removed                    104 passive until
/// 112 base: index, 120 term                     128 fence: index, 136 term
/// 144 configuration: index, 152 its encoding (132, zero: none)       284 1: leftovers are set aside, else 0
/// 288 previous configuration: index, 296 its encoding (132, zero: none)
/// </code>
/// Slot number 9: term 4, vote for node 2, entries up to 6 durable, active segment begins at 1, no base, no fence,
/// configuration of the beginning with voters 1 and 2:
/// <code>
///   0: 42 52 4B 52 56 4F 54 45  02 00 00 00 .. .. .. ..  09 00 00 00 00 00 00 00  04 00 00 00 00 00 00 00
///  32: 02 00 00 00 03 00 00 00  (store id)               06 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
///  72: 01 00 00 00 00 00 00 00  (nonce)                  00 00 40 00 00 00 00 00  (48 zeros)
/// 144: 00 00 00 00 00 00 00 00  01 02 00 00 01 00 00 00  02 00 00 00 (zeros)
/// </code>
/// </summary>
internal sealed record VoteRecord
{
    public const int SizeBytes = 512;
    public const uint FormatVersion = 2;

    /// <summary>What a new group begins with.</summary>
    public static readonly VoteRecord Initial = new();

    /// <summary>What a group begins with whose vote was lost: it may have promised what it no longer knows.</summary>
    public static readonly VoteRecord Lost = new()
    {
        HardState = HardState.Lost,
        Configuration = GroupConfiguration.None,
        SetsAside = true,
    };

    private const int ConfigurationAt = 144;
    private const int SetsAsideAt = 284;
    private const int PreviousConfigurationAt = 288;

    public static ReadOnlySpan<byte> Magic => "BRKRVOTE"u8;

    /// <summary>Counts the writes of the vote file; the slot with the higher one is the truth.</summary>
    public long Sequence { get; init; }

    public HardState HardState { get; init; }

    /// <summary>Entries up to here were durable when the slot was written: without them the disk is damaged.</summary>
    public LogIndex DurableFloor { get; init; }

    /// <summary>Counts truncations.</summary>
    public uint TruncationEpoch { get; init; }

    /// <summary>
    /// Where the last truncation began. A frame at or behind it of an older epoch is void, whether or not its bytes
    /// were wiped before a crash: so a truncation is done as soon as this record is durable.
    /// </summary>
    public LogIndex CutFrom { get; init; }

    /// <summary>
    /// The segment that is appended to. All before it are sealed and whole; one behind it was never acknowledged.
    /// </summary>
    public ActiveSegment Active { get; init; } = ActiveSegment.NotMadeYet(new LogIndex(1));

    /// <summary>The log begins after this entry.</summary>
    public LogPosition Base { get; init; }

    /// <summary>The header CRC of the frame at the base, which the first frame of the log continues.</summary>
    public uint BaseCrc32C { get; init; }

    /// <summary>What this replica had durable before it lost a part; <see cref="LogPosition.None"/>: nothing.</summary>
    public LogPosition Fence { get; init; }

    /// <summary>The latest configuration; its entry may not have become durable. Null: none was ever written.</summary>
    public GroupConfiguration? Configuration { get; init; }

    public GroupConfiguration? PreviousConfiguration { get; init; }

    /// <summary>
    /// Whether the files that this record does not name are what damage has left: kept then, not deleted.
    /// </summary>
    public bool SetsAside { get; init; }

    /// <summary>A replica that is lost has nothing; one that has was lost by the word of its leader.</summary>
    public bool HasGivenUpLog =>
        HardState.IsLost && (Active.IsMade || Active.First.Value > 1 || Base != LogPosition.None);

    /// <summary>Whether a frame was removed by the last truncation, though its bytes are still there.</summary>
    public bool IsVoid(LogIndex index, uint writtenInEpoch) => index >= CutFrom && writtenInEpoch < TruncationEpoch;

    /// <summary>
    /// The vote file learns of a configuration before its entry is durable, so the latest one counts only when the log
    /// holds it. When a damaged log has lost both entries, the older one stands in for what holds at the base: this
    /// replica is fenced, and its leader brings what it lost.
    /// </summary>
    public VoteRecord ConfiguredBy(LogIndex last)
    {
        if (Configuration is null || Configuration.Index <= last)
        {
            return this;
        }

        var known = PreviousConfiguration is { } previous && previous.Index > last
            ? previous.At(Base.Index)
            : PreviousConfiguration;
        return this with { Configuration = known, PreviousConfiguration = null };
    }

    public void Encode(Span<byte> slot, GroupId group, Guid storeId)
    {
        slot.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(slot[16..], Sequence);
        BinaryPrimitives.WriteInt64LittleEndian(slot[24..], HardState.Term.Value);
        BinaryPrimitives.WriteInt32LittleEndian(slot[32..], HardState.VotedFor.Value);
        BinaryPrimitives.WriteInt32LittleEndian(slot[36..], group.Value);
        storeId.TryWriteBytes(slot[40..]);
        BinaryPrimitives.WriteInt64LittleEndian(slot[56..], DurableFloor.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[64..], TruncationEpoch);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[68..], BaseCrc32C);
        BinaryPrimitives.WriteInt64LittleEndian(slot[72..], Active.First.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[80..], Active.Nonce);
        BinaryPrimitives.WriteInt64LittleEndian(slot[88..], Active.CapacityBytes);
        BinaryPrimitives.WriteInt64LittleEndian(slot[96..], CutFrom.Value);
        BinaryPrimitives.WriteInt64LittleEndian(slot[104..], HardState.PassiveUntil.Value);
        WritePosition(slot[112..], Base);
        WritePosition(slot[128..], Fence);
        WriteConfiguration(slot[ConfigurationAt..], Configuration);
        WriteConfiguration(slot[PreviousConfigurationAt..], PreviousConfiguration);
        slot[SetsAsideAt] = SetsAside ? (byte)1 : (byte)0;
        CheckedBlock.Seal(slot, Magic, FormatVersion);
    }

    /// <summary>Null when the slot is torn or damaged.</summary>
    public static VoteRecord? TryDecode(ReadOnlySpan<byte> slot, string path, GroupId group, Guid storeId)
    {
        if (!CheckedBlock.IsIntact(slot, Magic))
        {
            return null;
        }

        CheckedBlock.CheckVersion(slot, path, FormatVersion);
        GroupFolder.CheckOwner(
            path,
            group,
            storeId,
            new GroupId(BinaryPrimitives.ReadInt32LittleEndian(slot[36..])),
            new Guid(slot.Slice(40, 16)));
        return new VoteRecord
        {
            Sequence = BinaryPrimitives.ReadInt64LittleEndian(slot[16..]),
            HardState = new HardState(
                new Term(BinaryPrimitives.ReadInt64LittleEndian(slot[24..])),
                new NodeId(BinaryPrimitives.ReadInt32LittleEndian(slot[32..])),
                ReadIndex(slot[104..])),
            DurableFloor = ReadIndex(slot[56..]),
            TruncationEpoch = BinaryPrimitives.ReadUInt32LittleEndian(slot[64..]),
            BaseCrc32C = BinaryPrimitives.ReadUInt32LittleEndian(slot[68..]),
            Active = new ActiveSegment(
                ReadIndex(slot[72..]),
                BinaryPrimitives.ReadUInt64LittleEndian(slot[80..]),
                BinaryPrimitives.ReadInt64LittleEndian(slot[88..])),
            CutFrom = ReadIndex(slot[96..]),
            Base = ReadPosition(slot[112..]),
            Fence = ReadPosition(slot[128..]),
            Configuration = ReadConfiguration(slot[ConfigurationAt..], path),
            PreviousConfiguration = ReadConfiguration(slot[PreviousConfigurationAt..], path),
            SetsAside = slot[SetsAsideAt] != 0,
        };
    }

    private static LogIndex ReadIndex(ReadOnlySpan<byte> from) => new(BinaryPrimitives.ReadInt64LittleEndian(from));

    private static void WritePosition(Span<byte> into, LogPosition position)
    {
        BinaryPrimitives.WriteInt64LittleEndian(into, position.Index.Value);
        BinaryPrimitives.WriteInt64LittleEndian(into[sizeof(long)..], position.Term.Value);
    }

    private static LogPosition ReadPosition(ReadOnlySpan<byte> from) =>
        new(ReadIndex(from), new Term(BinaryPrimitives.ReadInt64LittleEndian(from[sizeof(long)..])));

    private static void WriteConfiguration(Span<byte> into, GroupConfiguration? configuration)
    {
        if (configuration is not null)
        {
            BinaryPrimitives.WriteInt64LittleEndian(into, configuration.Index.Value);
            configuration.Encode().CopyTo(into[sizeof(long)..]);
        }
    }

    private static GroupConfiguration? ReadConfiguration(ReadOnlySpan<byte> from, string path)
    {
        var body = from.Slice(sizeof(long), GroupConfiguration.MaxEncodedBytes);
        if (body[0] == 0)
        {
            return null;
        }

        // The encoding says its own length: a count of voters and one of learners, then their numbers.
        var lengthBytes = 4 + ((body[1] + body[2]) * sizeof(int));
        if (lengthBytes > body.Length
            || !GroupConfiguration.TryDecode(body[..lengthBytes], ReadIndex(from), out var configuration))
        {
            // The slot's checksum holds, so these bytes are what was written: by a broker that knows more.
            throw new StorageRefusedException(
                $"{path} names its group's members in a format that this broker does not know. "
                + "Start the broker version that wrote it; nothing was changed.");
        }

        return configuration;
    }
}

/// <summary>What the vote file knows of the segment that is appended to, so that its header may be lost.</summary>
/// <param name="First">Its first index, also while the file does not exist yet.</param>
/// <param name="Nonce">Its header's nonce, without which no frame can be recognized.</param>
/// <param name="CapacityBytes">The file's length; 0 while it does not exist yet.</param>
internal readonly record struct ActiveSegment(LogIndex First, ulong Nonce, long CapacityBytes)
{
    public bool IsMade => CapacityBytes > 0;

    public static ActiveSegment NotMadeYet(LogIndex first) => new(first, Nonce: 0, CapacityBytes: 0);
}
