using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Api;

/// <content>Consumer groups and their dead letters; see <see cref="GroupAdmin"/>.</content>
internal sealed partial class AdminService
{
    public override Task<CreateGroupResponse> CreateGroup(CreateGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.CreateAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<UpdateGroupResponse> UpdateGroup(UpdateGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.UpdateAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<ListGroupsResponse> ListGroups(ListGroupsRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.ListAsync(request, context.CancellationToken));

    public override Task<DescribeGroupResponse> DescribeGroup(
        DescribeGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.DescribeAsync(request, context.CancellationToken));

    public override Task<PeekGroupResponse> PeekGroup(PeekGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => peeks.PeekAsync(request, context.CancellationToken));

    public override Task<DeleteGroupResponse> DeleteGroup(DeleteGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.DeleteAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<SeekGroupResponse> SeekGroup(SeekGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.SeekAsync(request, context.CancellationToken));

    public override Task<ListDeadLettersResponse> ListDeadLetters(
        ListDeadLettersRequest request, ServerCallContext context) =>
        AnswerAsync(() => deadLetters.ListAsync(request, context.CancellationToken));

    public override Task<RedriveDeadLettersResponse> RedriveDeadLetters(
        RedriveDeadLettersRequest request, ServerCallContext context) =>
        AnswerAsync(() => deadLetters.RedriveAsync(request, context.CancellationToken));

    public override Task<PurgeDeadLettersResponse> PurgeDeadLetters(
        PurgeDeadLettersRequest request, ServerCallContext context) =>
        AnswerAsync(() => deadLetters.PurgeAsync(request, context.CancellationToken));
}
