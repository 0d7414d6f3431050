using Aspire.Hosting.Local;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>
/// Starts, stops and restarts single resources. A command's result may come before the state that it leads to.
/// </summary>
public class ResourceCommandService
{
    private readonly Orchestrator _orchestrator;

    internal ResourceCommandService(Orchestrator orchestrator) => _orchestrator = orchestrator;

    public Task<ExecuteCommandResult> ExecuteCommandAsync(
        IResource resource, string commandName, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(resource);
        return ExecuteCommandAsync(resource.Name, commandName, cancellationToken);
    }

    public async Task<ExecuteCommandResult> ExecuteCommandAsync(
        string resourceId, string commandName, CancellationToken cancellationToken = default)
    {
        if (_orchestrator.FindController(resourceId) is not { } controller)
        {
            return CommandResults.Failure($"There is no process behind the resource '{resourceId}'.");
        }

        switch (commandName)
        {
            case "start":
                return await controller.StartAsync(cancellationToken) is { } failure
                    ? CommandResults.Failure(failure)
                    : CommandResults.Success();
            case "stop":
                await controller.StopAsync(cancellationToken);
                return CommandResults.Success();
            case "restart":
                await controller.StopAsync(cancellationToken);
                goto case "start";
            default:
                return CommandResults.Failure($"The resource '{resourceId}' has no command '{commandName}'.");
        }
    }
}
